"""All formats alike: told apart, read, refused by name, and written in the own one."""

import io
import shutil

import pytest
from field_examples import FIELD, FORMATS, count, expectations, opened, whole
from format_layouts import LAYOUTS, SIZE, dragbench_dr, dragbench_sr, gooddrag, half_mask, the_problem
from PIL import Image

from rotationbench.datasets import open_dataset, validate, write_sample
from rotationbench.errors import DatasetError


@pytest.mark.parametrize("form", LAYOUTS)
@pytest.mark.parametrize("named", [True, False])
def test_every_format_is_read_and_detected(tmp_path, form, named):
    LAYOUTS[form](tmp_path)
    dataset = open_dataset(tmp_path, form if named else "auto")
    assert dataset.form.name == form
    assert dataset.names == ["cat"]
    sample = dataset["cat"]
    assert sample.size == SIZE
    assert abs(sample.image.astype(int) - 120).max() <= 2
    assert (sample.mask == (half_mask() > 0)).all()
    assert sample.sources.xy.tolist() == [[10, 12], [30, 30]]
    assert sample.targets.xy.tolist() == [[20, 14], [30, 30]]
    assert sample.is_pivot.tolist() == [False, True]
    assert sample.prompt == ("" if form == "gooddrag" else "a cat")


@pytest.mark.parametrize("form", LAYOUTS)
def test_every_format_becomes_rotationbench_folders(tmp_path, form):
    LAYOUTS[form](tmp_path / "there")
    sample = open_dataset(tmp_path / "there")[0]
    write_sample(tmp_path / "here" / sample.name, sample)
    assert open_dataset(tmp_path / "here", "rotationbench")[0].digest == sample.digest


@pytest.mark.parametrize("form", LAYOUTS)
def test_formats_without_splits_have_none(tmp_path, form):
    LAYOUTS[form](tmp_path)
    with pytest.raises(DatasetError, match="samples of the split 'real', got none that names a split"):
        open_dataset(tmp_path, split="real")


def test_two_formats_in_one_folder_are_ambiguous(tmp_path):
    dragbench_sr(tmp_path / "a")
    gooddrag(tmp_path / "b")
    problem = the_problem(tmp_path)
    assert "found dragbench_sr (1), gooddrag (1). Name one as data.format." in problem
    assert open_dataset(tmp_path, "gooddrag").names == ["b"]


def test_categories(tmp_path):
    dragbench_dr(tmp_path / "dr" / "animals" / "x")
    dragbench_dr(tmp_path / "dr" / "art_work" / "x")
    dataset = open_dataset(tmp_path / "dr")
    assert dataset.names == ["animals-x", "art_work-x"]
    assert [sample.meta.category for sample in dataset] == ["animals", "art_work"]
    gooddrag(tmp_path / "good" / "cat_2", "png")
    assert open_dataset(tmp_path / "good")["cat_2"].meta.category == "cat"


def test_pictures_of_formats_share_the_checks(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", SIZE[::-1]).save(buffer, "PNG")
    for form, name in (("dragbench_dr", "original_image.png"), ("dragbench_sr", "origin_image.png")):
        LAYOUTS[form](tmp_path / form)
        (tmp_path / form / "animals" / "cat" / name).write_bytes(buffer.getvalue()[:60])
        assert "expected a whole picture" in the_problem(tmp_path / form)


def cases():
    for form in FIELD:
        for key, expected in expectations(form).items():
            if expected.get("sources", ...) is not None and "refused" not in expected:
                yield pytest.param(form, key, expected, id=f"{form}-{key.rsplit('/', 1)[-1]}-{len(key)}")


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
