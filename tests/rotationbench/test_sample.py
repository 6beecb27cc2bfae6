from __future__ import annotations

import numpy as np
import pytest

from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Region, Regions, SampleMeta


def make_sample(**changes) -> DragSample:
    values = {
        "name": "one",
        "image": np.zeros((60, 100, 3), dtype=np.uint8),
        "prompt": "",
        "sources": ImagePoints.of([(10, 20), (50, 30)]),
        "targets": ImagePoints.of([(20, 20), (50, 30)]),
    }
    return DragSample(**(values | changes))


def test_pivot_pairs_are_those_that_stay():
    assert make_sample().is_pivot.tolist() == [False, True]


def test_resizing_moves_points_masks_and_pivot_along():
    mask = np.zeros((60, 100), dtype=bool)
    mask[:30] = True
    sample = make_sample(mask=mask, target=np.zeros((60, 100, 3), dtype=np.uint8), meta=SampleMeta(pivot=(50.0, 30.0)))
    smaller = sample.resized((30, 200))
    assert smaller.size == (30, 200)
    assert smaller.sources.xy.tolist() == [[20, 10], [100, 15]]
    assert smaller.meta.pivot == (100.0, 15.0)
    assert smaller.mask.mean() == 0.5
    assert smaller.target.shape == (30, 200, 3)
    assert sample.resized((60, 100)) is sample


def test_the_digest_sees_what_a_method_sees_and_no_more():
    sample = make_sample()
    assert sample.digest == make_sample(name="two", meta=SampleMeta(split="real")).digest
    changed = [
        make_sample(prompt="a"),
        make_sample(mask=np.ones((60, 100), dtype=bool)),
        make_sample(targets=ImagePoints.of([(21, 20), (50, 30)])),
        make_sample(image=np.ones((60, 100, 3), dtype=np.uint8)),
    ]
    assert len({sample.digest, *(other.digest for other in changed)}) == 5


def square(left, top, side=10):
    mask = np.zeros((60, 100), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def dragged_areas(**changes) -> Regions:
    values = {
        "sources": square(10, 10),
        "targets": square(30, 10),
        "pairs": (ImagePoints.of([(16, 16)]), ImagePoints.of([(32, 16)])),
        "cell": (8.0, 8.0),
        "parts": (Region(square(10, 10), "rotation", (14, 14), (34, 14), (24, 30), 30.0, (0,)),),
    }
    return Regions(**(values | changes))


def test_regions_and_the_edit_prompt_are_seen_by_methods():
    sample = make_sample()
    changed = [
        make_sample(edit_prompt="turn it"),
        make_sample(regions=Regions()),
        make_sample(regions=dragged_areas()),
        make_sample(regions=dragged_areas(sources=square(11, 10))),
        make_sample(regions=dragged_areas(targets=None)),
        make_sample(regions=dragged_areas(pairs=(ImagePoints.of([(16, 16)]), ImagePoints.of([(32, 17)])))),
        make_sample(regions=dragged_areas(cell=None)),
        make_sample(regions=dragged_areas(parts=(Region(square(10, 10)),))),
    ]
    assert len({sample.digest, *(other.digest for other in changed)}) == 9
    assert make_sample(regions=dragged_areas()).digest == make_sample(regions=dragged_areas()).digest


def test_kind_13_corrections_that_methods_do_not_see_change_the_full_digest():
    sample = make_sample(meta=SampleMeta(angle=30, pivot=(5, 6)))
    assert sample.full_digest == make_sample(name="two", meta=SampleMeta(angle=30.0, pivot=(5.0, 6.0))).full_digest
    picture = np.zeros((60, 100, 3), dtype=np.uint8)
    metas = [
        SampleMeta(angle=55, pivot=(5, 6)),
        SampleMeta(angle=30, pivot=(5, 7)),
        SampleMeta(angle=30, pivot=(5, 6), object_mask=square(1, 1)),
        SampleMeta(angle=30, pivot=(5, 6), object_mask_target=square(1, 1)),
        SampleMeta(angle=30, pivot=(5, 6), split="real"),
        SampleMeta(angle=30, pivot=(5, 6), extra={"kind": "part"}),
    ]
    changed = [make_sample(meta=meta) for meta in metas]
    changed += [make_sample(meta=sample.meta, **{key: picture}) for key in ("target", "reference")]
    changed += [make_sample(meta=sample.meta, pix_step=5)]
    assert len({sample.full_digest, *(other.full_digest for other in changed)}) == 10
    assert len({sample.digest, *(other.digest for other in changed)}) == 1
    assert make_sample(meta=sample.meta, regions=dragged_areas()).full_digest != sample.full_digest


def test_resizing_moves_regions_along():
    smaller = make_sample(regions=dragged_areas(), reference=np.zeros((60, 100, 3), np.uint8)).resized((30, 200))
    assert smaller.reference.shape == (30, 200, 3)
    regions = smaller.regions
    assert regions.sources.shape == regions.targets.shape == regions.parts[0].mask.shape == (30, 200)
    assert regions.sources[5:10, 20:40].all()
    assert regions.sources.sum() == 100
    assert regions.pairs[0].xy.tolist() == [[32, 8]]
    assert regions.pairs[1].xy.tolist() == [[64, 8]]
    assert regions.cell == (16.0, 4.0)
    part = regions.parts[0]
    assert (part.source, part.target, part.anchor) == ((28, 7), (68, 7), (48, 15))
    assert (part.task, part.angle, part.pairs) == ("rotation", 30.0, (0,))


def test_a_region_has_as_many_targets_as_sources():
    with pytest.raises(ValueError, match="Expected pairs of regions, got 1 and 0 points"):
        dragged_areas(pairs=(ImagePoints.of([(1, 1)]), ImagePoints.of([])))


@pytest.mark.parametrize(
    "bad",
    [
        {"image": np.zeros((60, 100), dtype=np.uint8)},
        {"image": np.zeros((60, 100, 3), dtype=np.float32)},
        {"mask": np.zeros((60, 99), dtype=bool)},
        {"target": np.zeros((10, 100, 3), dtype=np.uint8)},
        {"sources": ImagePoints.of([(1, 1)])},
        {"meta": SampleMeta(object_mask=np.zeros((1, 1), dtype=bool))},
        {"reference": np.zeros((10, 100, 3), dtype=np.uint8)},
        {"regions": Regions(sources=np.zeros((60, 99), dtype=bool))},
        {"regions": Regions(parts=(Region(np.zeros((60, 100), dtype=np.uint8)),))},
    ],
)
def test_parts_that_do_not_fit_are_refused(bad):
    with pytest.raises(ValueError, match="Expected"):
        make_sample(**bad)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "\ud800", "x" * 201])
def test_a_sample_has_a_name_that_a_folder_can_have(name):
    with pytest.raises(ValueError, match="Sample name: expected"):
        make_sample(name=name)


@pytest.mark.parametrize("key", ["prompt", "edit_prompt"])
def test_prompts_can_be_written(key):
    with pytest.raises(ValueError, match="surrogates not allowed"):
        make_sample(**{key: "\ud800"})
