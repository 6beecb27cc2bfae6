import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.datasets.formats.dragbench_dr import read_plain_pickle
from rotationbench.datasets.reading import Problems
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample

SIZE = (48, 64)


def picture(path, value=120, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, SIZE[::-1], (value,) * 3 if mode == "RGB" else value).save(path)


def half_mask():
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 20:] = 255
    return mask


def dragbench_dr(folder, content=None, protocol=4):
    picture(folder / "original_image.png")
    meta = {"prompt": "a cat", "points": [[10, 12], [20, 14], [30, 30], [30, 30]], "mask": half_mask()}
    (folder / "meta_data.pkl").write_bytes(pickle.dumps(meta if content is None else content, protocol=protocol))


def dragbench_sr(folder):
    picture(folder / "origin_image.png")
    Image.fromarray(half_mask()).save(folder / "mask.png")
    config = {"prompt": "a cat", "source": [[10, 12], [30, 30]], "target": [[20, 14], [30, 30]]}
    (folder / "prompt.json").write_text(json.dumps(config))


def gooddrag(folder, ending="jpg"):
    picture(folder / f"original.{ending}")
    Image.fromarray(half_mask()).save(folder / "mask.png")
    (folder / "points.json").write_text('{"points": [[10, 12], [20, 14], [30, 30], [30, 30]]}')


def imagefolder(root, **changes):
    picture(root / "images" / "cat.png")
    Image.fromarray(half_mask()).save(root / "mask.png")
    fields = {
        "file_name": "images/cat.png",
        "mask_file_name": "mask.png",
        "prompt": "a cat",
        "point": [[10, 12], [20, 14], [30, 30], [30, 30]],
    }
    (root / "metadata.jsonl").write_text(json.dumps(fields | changes) + "\n\n")


LAYOUTS = {
    "dragbench_dr": lambda root: dragbench_dr(root / "animals" / "cat"),
    "dragbench_sr": lambda root: dragbench_sr(root / "animals" / "cat"),
    "gooddrag": lambda root: gooddrag(root / "cat"),
    "imagefolder": imagefolder,
}


def the_problem(root, form="auto"):
    with pytest.raises(DatasetError) as caught:
        open_dataset(root, form)
    (problem,) = caught.value.problems
    return problem


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


# --- DragBench-DR's pickle


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.int64])
def test_numpy_pickles_of_every_protocol(tmp_path, protocol, dtype):
    mask = np.asfortranarray((half_mask() > 0).astype(dtype))
    points = [np.array([10, 12]), (np.int64(20), np.float32(14.5))]
    dragbench_dr(tmp_path / "cat", {"prompt": "a cat", "points": points, "mask": mask}, protocol)
    sample = open_dataset(tmp_path)[0]
    assert (sample.mask == (half_mask() > 0)).all()
    assert sample.sources.xy.tolist() == [[10, 12]]
    assert sample.targets.xy.tolist() == [[20, 14.5]]


def test_pickles_of_numpy_1_name_other_modules(tmp_path):
    content = pickle.dumps({"prompt": "", "points": [[1, 2], [3, 4]], "mask": half_mask()}, protocol=2)
    assert b"numpy._core.multiarray" in content
    dragbench_dr(tmp_path)
    (tmp_path / "meta_data.pkl").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert (open_dataset(tmp_path)[0].mask == (half_mask() > 0)).all()


class Touch:
    """Creates a file when it is unpickled by anything that runs what a pickle names."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def malicious_pickles(trace):
    import os
    import subprocess

    yield "posix.system", pickle.dumps(Touch(os.system, f"touch {trace}"))
    yield "subprocess.Popen", pickle.dumps({"mask": half_mask(), "x": Touch(subprocess.Popen, ["touch", str(trace)])})
    yield "builtins.eval", pickle.dumps([Touch(eval, f"open({str(trace)!r}, 'w')")])
    yield "builtins.getattr", b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR."
    yield "numpy.load", pickle.dumps(Touch(np.load, str(trace)))
    yield "numpy.ndarray.__reduce__", b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__reduce__\x93."
    yield "a persistent reference", b"Psomewhere\n."
    yield "an encoding", b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR."
    yield "an array of dtype", b"cnumpy\ndtype\n(S'O8'\ntR."


@pytest.mark.parametrize("index", range(9))
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_of_it_runs(tmp_path, index):
    trace = tmp_path / "trace"
    named, content = list(malicious_pickles(trace))[index]
    folder = tmp_path / "data" / "cat"
    dragbench_dr(folder)
    (folder / "meta_data.pkl").write_bytes(content)
    problem = the_problem(tmp_path / "data")
    assert problem.startswith(str(folder / "meta_data.pkl"))
    assert "expected only containers, strings, numbers and numpy arrays, got" in problem
    assert named in problem
    assert not trace.exists()


def test_the_malicious_pickles_would_run(tmp_path):
    trace = tmp_path / "trace"
    _, content = next(malicious_pickles(trace))
    pickle.loads(content)
    assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04", b"garbage", pickle.dumps({"mask": half_mask()})[:200], b"\x80\x04\x95" + b"\xff" * 8],
)
def test_broken_pickles(tmp_path, content):
    path = tmp_path / "meta_data.pkl"
    path.write_bytes(content)
    problems = Problems()
    assert read_plain_pickle(path, problems) is None
    assert len(problems) == 1
    assert "expected" in problems[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.zeros((4, 4), np.uint8)}, "expected the picture's size 64 × 48 (width × height), got 4 × 4"),
        ({"mask": "mask.png"}, 'expected a numeric array (H, W) as "mask", got str'),
        ({"points": [[1, 2]]}, "an even number of points"),
        ({"prompt": None}, 'a string as "prompt"'),
    ],
)
def test_wrong_content_of_a_pickle(tmp_path, change, words):
    meta = {"prompt": "", "points": [[1, 2], [3, 4]], "mask": half_mask()}
    dragbench_dr(tmp_path / "cat", meta | change)
    assert words in the_problem(tmp_path)


def test_a_pickle_without_a_dict(tmp_path):
    dragbench_dr(tmp_path / "cat", [1, 2])
    assert "expected a dict with prompt, points and mask, got list [1, 2]" in the_problem(tmp_path)


# --- the others


def test_dragbench_sr_needs_as_many_targets_as_sources(tmp_path):
    dragbench_sr(tmp_path / "cat")
    (tmp_path / "cat" / "prompt.json").write_text('{"prompt": "", "source": [[1, 2], [3, 4]], "target": [[5, 6]]}')
    assert "expected as many targets as sources, 2, got 1" in the_problem(tmp_path)


def test_gooddrag_masks_count_above_zero(tmp_path):
    gooddrag(tmp_path / "cat")
    Image.fromarray(half_mask() // 255).save(tmp_path / "cat" / "mask.png")
    assert (open_dataset(tmp_path)[0].mask == (half_mask() > 0)).all()


def test_imagefolder_metadata(tmp_path):
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "train" / "b.png", 9)
    lines = [
        {"file_name": "a.png", "text": "a", "point": [[1, 2], [3, 4]], "split": "real", "pivot": [5, 6], "angle": 30},
        {"file_name": "b.png", "target_file_name": "a.png", "point": [[1, 2], [3, 4]], "category": "cup"},
    ]
    (tmp_path / "train" / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    dataset = open_dataset(tmp_path)
    a, b = dataset
    assert (a.name, a.prompt, a.meta.split, a.meta.pivot, a.meta.angle) == ("a", "a", "real", (5.0, 6.0), 30)
    assert (b.prompt, b.meta.category, b.mask) == ("", "cup", None)
    assert (b.target == 120).all()
    assert open_dataset(tmp_path, split="real").names == ["a"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file_name": "../../secret.png"}, "the name of a file inside"),
        ({"file_name": None}, 'as "file_name", got NoneType None'),
        ({"mask_file_name": "none.png"}, "none.png: expected a picture, found no file (sample cat)."),
        ({"point": [[1, 2]]}, "an even number of points"),
        ({"split": "test"}, 'real, generated or in_domain as "split"'),
        ({"angle": "x"}, 'a finite number of degrees as "angle"'),
        ({"pivot": [1, 2, 3]}, "two finite numbers"),
    ],
)
def test_bad_lines_of_an_imagefolder(tmp_path, changes, words):
    imagefolder(tmp_path, **changes)
    assert words in the_problem(tmp_path)


def test_broken_lines_of_an_imagefolder_are_all_named(tmp_path):
    imagefolder(tmp_path)
    (tmp_path / "metadata.jsonl").write_text("{\n[1]\n")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 2
    assert "valid JSON in line 1" in caught.value.problems[0]
    assert "a JSON object in line 2" in caught.value.problems[1]


def test_pictures_of_formats_share_the_checks(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", SIZE[::-1]).save(buffer, "PNG")
    for form, name in (("dragbench_dr", "original_image.png"), ("dragbench_sr", "origin_image.png")):
        LAYOUTS[form](tmp_path / form)
        (tmp_path / form / "animals" / "cat" / name).write_bytes(buffer.getvalue()[:60])
        assert "expected a whole picture" in the_problem(tmp_path / form)


def test_reading_does_not_need_writing(tmp_path):
    sample = DragSample(
        "cat", np.zeros((*SIZE, 3), np.uint8), "", ImagePoints.of([(1, 2)]), ImagePoints.of([(3.5, 4.25)])
    )
    write_sample(tmp_path / "cat", sample)
    assert json.loads((tmp_path / "cat" / "config.json").read_text())["point"] == [[1, 2], [3.5, 4.25]]
