"""The field's data sets: small examples in each layout, read to what is known about them, or refused by name."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset, validate, write_sample
from rotationbench.datasets.formats.red_bench import pinned, turn_about
from rotationbench.datasets.formats.vfd_bench import described_by_name
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints

FORMATS = Path(__file__).parent / "formats"
FIELD = ("vfd_bench", "red_bench", "geobench", "regiondrag", "inpaint4drag")


def expectations(form):
    return json.loads((FORMATS / form / "expected.json").read_text())


def cases():
    for form in FIELD:
        for key, expected in expectations(form).items():
            if expected.get("sources", ...) is not None and "refused" not in expected:
                yield pytest.param(form, key, expected, id=f"{form}-{key.rsplit('/', 1)[-1]}-{len(key)}")


def opened(form):
    return open_dataset(FORMATS / form, check=False)


def count(mask):
    return None if mask is None else int(mask.sum())


def whole(points):
    return [list(map(int, point)) for point in points.xy.tolist()]


@pytest.mark.parametrize("form", FIELD)
def test_layouts_are_told_apart(form):
    dataset = opened(form)
    assert dataset.form.name == form
    assert len(dataset) == len(expectations(form))


@pytest.mark.parametrize(("form", "key", "expected"), cases())
def test_what_is_known_about_the_examples(form, key, expected):
    sample = opened(form)[key.rsplit("/", 1)[-1]]
    assert list(sample.size[::-1]) == expected["image_size"]
    assert sample.prompt == expected["prompt"]
    if "sources" in expected:
        assert whole(sample.sources) == expected["sources"]
        assert whole(sample.targets) == expected["targets"]
        assert whole(sample.sources[sample.is_pivot]) == expected["pivots"]
        assert count(sample.mask) == expected["mask_pixels"]
    assert sample.edit_prompt == expected.get("edit_prompt", expected.get("editing_prompt"))
    assert sample.target is None
    if "category" in expected:
        assert sample.meta.category == expected["category"]
    if "pivot" in expected:
        assert sample.meta.pivot == (None if expected["pivot"] is None else tuple(expected["pivot"]))
        assert sample.meta.angle == (None if expected["angle"] is None else pytest.approx(expected["angle"], abs=1e-4))


@pytest.mark.parametrize("form", FIELD)
def test_the_examples_become_rotationbench_folders_with_everything(tmp_path, form):
    for name in opened(form).names:
        try:
            sample = opened(form)[name]
        except DatasetError:
            continue
        write_sample(tmp_path / name, sample)
        read = open_dataset(tmp_path / name, "rotationbench")[0]
        assert (read.digest, read.full_digest) == (sample.digest, sample.full_digest)
    assert validate.problems_of(tmp_path)[1] == []


# --- VFD-Bench


def test_a_later_frame_is_a_reference_and_no_exact_result():
    for key, expected in expectations("vfd_bench").items():
        sample = opened("vfd_bench")[key.rsplit("/", 1)[-1]]
        reference = expected["reference"]
        if reference is None:
            assert sample.reference is None
            continue
        assert sample.reference.mean() == pytest.approx(reference["mean"], abs=1e-6)
        off = np.abs(sample.reference.astype(int) - sample.image).max(axis=2) > 4
        share = (off & ~sample.mask).sum() / (~sample.mask).sum()
        assert share == pytest.approx(reference["share_off_by_more_than_4_outside_the_mask"], abs=1e-4)
        assert len(sample.meta.extra["flowdrag_points"]) == 2 * expected["flow_points"]["pairs"]
        assert (sample.meta.source, sample.meta.extra["kind"]) == (expected["source"], expected["kind"])
    assert validate.problems_of(FORMATS / "vfd_bench")[1] == []


@pytest.mark.parametrize(
    ("name", "source", "kind", "failed"),
    [
        ("Pexels_100001_Box_head_rotation_0", "Pexels", "head_rotation", False),
        ("Pexels_123_cat_head_rotation_2_fail", "Pexels", "head_rotation", True),
        ("Pexels_123_Cup_move_fail_1", "Pexels", "move", True),
        ("TVR_Human_hand_1_pose_change", "TVR", "pose_change", False),
        ("Pexels_123_turn", "Pexels", "turn", False),
        ("alone", "alone", None, False),
    ],
)
def test_names_say_where_a_video_is_from_and_what_moves(name, source, kind, failed):
    meta = described_by_name(name)
    if kind is None:
        assert meta.source is None and meta.extra == {}
    else:
        assert (meta.source, meta.extra["kind"]) == (source, kind)
    assert meta.extra.get("marked_as_failure", False) == failed


def test_a_frame_without_its_points_is_not_taken_for_another_format(tmp_path):
    shutil.copytree(FORMATS / "vfd_bench" / "no_gt", tmp_path / "data")
    folder = tmp_path / "data" / "Pexels_100002_Cup_move_0"
    (folder / "points.json").unlink()
    with pytest.raises(DatasetError, match=r"points\.json: expected a file, found none"):
        open_dataset(tmp_path / "data")
    Image.new("RGB", (64, 64)).save(folder / "original.png")
    assert open_dataset(tmp_path / "data", check=False).form.name == "vfd_bench"


def test_a_picture_beside_samples_that_lacks_everything_else_is_not_passed_over(tmp_path):
    shutil.copytree(FORMATS / "vfd_bench" / "no_gt", tmp_path / "data")
    (tmp_path / "data" / "lost").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "data" / "lost" / "input.png")
    with pytest.raises(DatasetError, match=r"lost/points\.json: expected a file, found none"):
        open_dataset(tmp_path / "data")


# --- ReD Bench


@pytest.mark.parametrize("key", ["ReD_Bench/R1", "ReD_Bench/R2", "ReD_Bench/R3"])
def test_regions_of_red_bench(key):
    expected = expectations("red_bench")[key]
    sample = opened("red_bench")[key[-2:]]
    assert len(sample.regions.parts) == len(expected["regions"])
    for part, region in zip(sample.regions.parts, expected["regions"], strict=True):
        assert part.task == region["task"]
        assert list(part.source) == region["begin"]
        assert list(part.target) == region["target"]
        assert part.anchor == (None if region["anchor"] is None else tuple(region["anchor"]))
        assert part.mask.sum() == region["handle_pixels"]
        turn = region.get("turn_degrees_clockwise")
        assert part.angle == (None if turn is None else pytest.approx(turn, abs=1e-4))
    assert count(sample.meta.object_mask) == expected.get("object_mask_pixels")
    for side in ("sources_in_file", "targets_in_file"):
        assert sample.meta.extra.get(side) == expected.get(side)


def test_pairs_pin_an_anchor_within_five_pixels_and_two_of_each_other():
    def read(source, target, anchors):
        sources, targets = pinned((ImagePoints.of([source]), ImagePoints.of([target])), anchors)
        return (*sources.xy[0].tolist(), *targets.xy[0].tolist())

    assert read((298, 348), (298, 349), [(298, 351)]) == (298, 351, 298, 351)
    assert read((298, 346), (300, 346), [(298, 351)]) == (298, 346, 300, 346)
    assert read((298, 349), (298, 351.5), [(298, 351)]) == (298, 349, 298, 351.5)
    assert read((298, 348), (298, 349), [None]) == (298, 348, 298, 349)
    assert read((10, 10), (10, 11), [(12, 10), (10, 12), None]) in {(12, 10, 12, 10), (10, 12, 10, 12)}


def test_turns_are_wrapped_and_clockwise():
    assert turn_about((0, 0), (10, 0), (0, 10)) == pytest.approx(90)
    assert turn_about((0, 0), (-10, -1), (-10, 1)) == pytest.approx(-2 * np.rad2deg(np.arctan(0.1)))
    assert abs(turn_about((0, 0), (10, 0), (-10, 0))) == pytest.approx(180)


def test_a_handle_that_lies_in_no_region_is_left_out_with_a_warning(tmp_path, caplog):
    shutil.copytree(FORMATS / "red_bench" / "ReD_Bench" / "R1", tmp_path / "R1")
    Image.fromarray(np.eye(71, 87, dtype=np.uint8) * 255).save(tmp_path / "R1" / "operation.png")
    path = tmp_path / "R1" / "instruction.json"
    config = json.loads(path.read_text())
    config["region_operations"]["0"]["centroids"][0] = [70, 5]
    path.write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING):
        sample = open_dataset(tmp_path)[0]
    assert sample.regions.parts == ()
    assert sample.meta.object_mask is None
    assert "no handle region at (70, 5)" in caplog.text


# --- GeoBenchMeta


@pytest.mark.parametrize("key", ["1-0-0", "1-0-1", "1-0-2", "1-0-3"])
def test_edits_of_geobench(key):
    expected = expectations("geobench")[key]
    sample = opened("geobench")[key]
    extra = {"kind": expected["kind"], "label": expected["label"], "edit_param": expected["edit_param"]}
    assert sample.meta.extra == extra
    assert sample.meta.object_mask.sum() == expected["object_mask_pixels"]
    assert sample.meta.object_mask_target.sum() == expected["object_mask_target_pixels"]
    assert sample.reference.mean() == pytest.approx(expected["coarse_mean"], abs=1e-5)
    if "derived_pair" in expected:
        assert [whole(sample.sources)[0], whole(sample.targets)[0]] == expected["derived_pair"]
    if expected.get("derived_target_in_target_mask"):
        (x, y) = whole(sample.targets)[0]
        assert sample.meta.object_mask_target[y, x]


def annotations(tmp_path, change):
    shutil.copytree(FORMATS / "geobench" / "GeoBenchMeta", tmp_path / "geo")
    path = tmp_path / "geo" / "annotations_2d.json"
    content = json.loads(path.read_text())
    change(content["1"]["instances"]["0"]["0"])
    path.write_text(json.dumps(content))
    return tmp_path / "geo"


def test_paths_of_the_machine_that_wrote_the_listing(tmp_path):
    def absolute(edit):
        for key in ("ori_img_path", "ori_mask_path", "tgt_mask_path", "coarse_input_path"):
            edit[key] = f"/data/someone/{edit[key]}"

    root = annotations(tmp_path, absolute)
    assert open_dataset(root)["1-0-0"].digest == opened("geobench")["1-0-0"].digest
    (root / "annotations_2d.json").rename(root / "annotation_2d.json")
    assert len(open_dataset(root)) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edit_param": [1, 0, 0, 0, 0, 30, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 0, 0, 0, 0, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 0, 10, 0, 0, 1, 1, 1]}, "one move, turn within ±360° or change of size"),
        ({"edit_param": [0, 0, 1e300, 0, 0, 0, 1, 1, 1]}, "numbers [dx, dy, dz"),
        ({"edit_param": "turn"}, "numbers [dx, dy, dz"),
        ({"ori_img_path": "../../../../etc/passwd"}, "the name of a file below"),
        ({"ori_img_path": "/etc/passwd"}, "the name of a file below"),
        ({"ori_mask_path": "Geo-Bench-2D/none.png"}, "expected a picture, found no file (sample 1-0-0)"),
        ({"edit_prompt": None}, 'a string as "edit_prompt"'),
    ],
)
def test_edits_that_cannot_be_used(tmp_path, changes, words):
    with pytest.raises(DatasetError) as caught:
        open_dataset(annotations(tmp_path, lambda edit: edit.update(changes)))
    (problem,) = caught.value.problems
    assert words in problem and "(sample 1-0-0)" in problem


# --- regions beside DragBench


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


def test_one_folder_with_both_kinds_of_regions_asks_for_a_name(tmp_path):
    shutil.copytree(FORMATS / "regiondrag" / "drag_data", tmp_path / "data")
    shutil.copytree(FORMATS / "inpaint4drag" / "drag_data", tmp_path / "data", dirs_exist_ok=True)
    with pytest.raises(DatasetError, match=r"found regiondrag \(2\), inpaint4drag \(1\)"):
        open_dataset(tmp_path / "data")
    assert open_dataset(tmp_path / "data", "regiondrag").names == ["JH_2023-09-14-0001-01", "art_0"]


def test_a_sample_that_lacks_its_regions_is_named(tmp_path):
    shutil.copytree(FORMATS / "regiondrag" / "drag_data", tmp_path / "data")
    (tmp_path / "data" / "dragbench-sr" / "art_0" / "meta_data_region.pkl").unlink()
    with pytest.raises(DatasetError, match=r"art_0/meta_data_region\.pkl: expected a file, found none"):
        open_dataset(tmp_path / "data")
    dataset = open_dataset(tmp_path / "data", "dragbench_dr")
    assert [sample.meta.category for sample in dataset] == ["animals", "art"]
    assert dataset[0].regions is None


# --- masks


@pytest.mark.parametrize(("variant", "expected"), expectations("masks")["variants"].items())
def test_masks_as_the_tools_write_them(variant, expected, caplog):
    dataset = open_dataset(FORMATS / "masks", check=False)
    if "refused" in expected:
        with pytest.raises(DatasetError, match=rf"{variant}/mask\.\w+: expected"):
            dataset[variant]
        return
    sample = dataset[variant]
    assert count(sample.mask) == expected["mask_pixels"]
    assert whole(sample.sources) == expectations("masks")["sources"]
    assert (variant in caplog.text) == (variant in ("all_black", "jpg", "soft"))


def masked(tmp_path, mask, name="mask.png", **options):
    shutil.copytree(FORMATS / "masks" / "png_0_255", tmp_path / "s")
    (tmp_path / "s" / "mask.png").unlink()
    mask.save(tmp_path / "s" / name, **options)
    return open_dataset(tmp_path)[0].mask


def half(inside, outside, mode):
    picture = Image.new(mode, (96, 64), outside)
    picture.paste(inside, (0, 0, 48, 64))
    return picture


@pytest.mark.parametrize(
    "mask",
    [
        half((0, 0, 255), (0, 0, 0), "RGB"),
        half((255, 0, 0), (0, 0, 0), "RGB"),
        half((9, 9, 9, 255), (9, 9, 9, 0), "RGBA"),
        half((255, 0, 0, 200), (0, 0, 0, 0), "RGBA"),
        half((255, 255, 255, 128), (0, 0, 0, 128), "RGBA"),
        half((255, 255), (255, 0), "LA"),
        half(1, 0, "1"),
        half(65535, 0, "I;16"),
    ],
)
def test_masks_in_any_mode(tmp_path, mask):
    assert (masked(tmp_path, mask) == (np.arange(96) < 48)).all()


def test_a_picture_with_a_hole_is_no_mask(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (64, 96, 4), np.uint8)
    picture[..., 3] = 255
    picture[20:40, 20:40, 3] = 0
    with pytest.raises(
        DatasetError, match="opaque or painted in one colour, got a picture of several colours with holes"
    ):
        masked(tmp_path, Image.fromarray(picture))


def test_gooddrag_reads_soft_and_jpeg_masks_above_half(tmp_path):
    folder = tmp_path / "cat_1"
    folder.mkdir()
    Image.new("RGB", (96, 64)).save(folder / "original.jpg")
    (folder / "points.json").write_text('{"points": [[1, 2], [30, 4]]}')
    half(255, 0, "L").save(folder / "mask.jpg", quality=60)
    assert (open_dataset(tmp_path)[0].mask == (np.arange(96) < 48)).all()
    (folder / "mask.jpg").unlink()
    half(1, 0, "L").save(folder / "mask.png")
    assert (open_dataset(tmp_path)[0].mask == (np.arange(96) < 48)).all()
