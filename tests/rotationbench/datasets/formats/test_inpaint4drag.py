import numpy as np
from field_examples import expectations, opened, whole


def test_deforming_regions_of_inpaint4drag():
    ((key, expected),) = expectations("inpaint4drag").items()
    regions, wanted = opened("inpaint4drag")[key.rsplit("/", 1)[-1]].regions, expected["deformation"]
    assert regions.sources.sum() == wanted["mask_pixels"]
    assert [whole(points) for points in regions.pairs] == [wanted["sources"], wanted["targets"]]
    assert len(regions.parts) == len(wanted["regions"])
    for part, region in zip(regions.parts, wanted["regions"], strict=True):
        rows, columns = np.nonzero(part.mask)
        x, y, width, height = region["box_xywh"]
        assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, width, height)
        assert part.mask.sum() == region["filled_pixels"]
        assert list(part.pairs) == region["control_pairs"]
    moved = {index for part in regions.parts for index in part.pairs}
    assert sorted(set(range(len(wanted["sources"]))) - moved) == wanted["control_pairs_in_no_region"]
