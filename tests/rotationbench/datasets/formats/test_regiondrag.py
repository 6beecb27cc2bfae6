import pytest
from field_examples import FORMATS, expectations, opened, whole

from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError


def test_cells_of_regiondrag_steer_and_do_not_measure():
    for key, expected in expectations("regiondrag").items():
        if expected.get("sources") is None:
            continue
        regions, wanted = opened("regiondrag")[key.rsplit("/", 1)[-1]].regions, expected["regions"]
        sources, targets = map(whole, regions.pairs)
        assert len(sources) == wanted["pairs"]
        assert [sources[0], targets[0]] == wanted["first_pair"]
        assert [sources[-1], targets[-1]] == wanted["last_pair"]
        assert regions.sources.sum() == wanted["handle_pixels"]
        assert regions.targets.sum() == wanted["target_pixels"]
        assert regions.cell == (8, 8)


def test_what_regiondrags_interface_saves_is_refused_by_name():
    with pytest.raises(DatasetError) as caught:
        open_dataset(FORMATS / "regiondrag")
    polygons, tensors = caught.value.problems
    assert "polygons/meta_data_mask.pkl" in polygons
    assert "expected pairs of points in meta_data.pkl, got regions only, of 20 pairs of cells" in polygons
    assert "tensors/meta_data_mask.pkl" in tensors
    assert "got the name torch._utils._rebuild_tensor_v2; nothing of it was run" in tensors
