"""Mutated inputs for every reader: each ends in samples or a `DatasetError`, and costs little."""

import contextlib
import io
import json
import pickle
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests_helpers import places_in

from rotationbench.datasets import FORMATS, open_dataset, validate, write_sample
from rotationbench.errors import DatasetError
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Region, Regions, SampleMeta

EXAMPLES = Path(__file__).parent / "formats"
SEEDED = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
SECONDS, MEGABYTES = 2, 500


def rotationbench(root):
    mask = np.zeros((40, 50), bool)
    mask[5:20, 5:20] = True
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    points = ImagePoints.of([(8, 8)]), ImagePoints.of([(16, 8)])
    regions = Regions(mask, mask, points, (8, 8), (Region(mask, "rotation", (1, 2), (3, 4), (5, 6), 30, (0,)),))
    meta = SampleMeta("real", "cup", "CC0-1.0", "me", (3.5, 4), -20, "easy", mask, mask, {"note": [1, 2.5]})
    write_sample(root / "s", DragSample("s", picture, "a", *points, mask, picture, meta, 3, picture, "turn", regions))
    (root / "quick.txt").write_text("s\n")
    (root / "SHA256SUMS").write_text("0" * 64 + "  s/image.png\n")


def dragbench_dr(root):
    (root / "animals" / "s").mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(root / "animals" / "s" / "original_image.png")
    content = {"prompt": "a", "points": [[1, 2], [30, 4]], "mask": np.eye(40, 50, dtype=np.uint8)}
    (root / "animals" / "s" / "meta_data.pkl").write_bytes(pickle.dumps(content, 4))


def dragbench_sr(root):
    (root / "s").mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(root / "s" / "origin_image.png")
    Image.new("L", (50, 40), 255).save(root / "s" / "mask.png")
    (root / "s" / "prompt.json").write_text('{"prompt": "a", "source": [[1, 2]], "target": [[3, 4]]}')


def gooddrag(root):
    (root / "s").mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(root / "s" / "original.jpg")
    Image.new("L", (50, 40), 255).save(root / "s" / "mask.jpg")
    (root / "s" / "points.json").write_text('{"points": [[1, 2], [3, 4]]}')


def imagefolder(root):
    root.mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(root / "a.png")
    line = {"file_name": "a.png", "mask_file_name": "a.png", "target_file_name": "a.png", "point": [[1, 2], [3, 4]]}
    line |= {"prompt": "a", "split": "real", "pivot": [1, 2], "angle": 30, "category": "cup"}
    (root / "metadata.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(line | {'file_name': 'b.png'})}\n")
    Image.new("RGB", (50, 40), (255, 255, 255)).save(root / "b.png")


def copied(form):
    def copy(root):
        shutil.copytree(EXAMPLES / form, root, ignore=shutil.ignore_patterns("expected.json", "interface"))

    return copy


LAYOUTS = {
    "rotationbench": rotationbench,
    "dragbench_dr": dragbench_dr,
    "dragbench_sr": dragbench_sr,
    "gooddrag": gooddrag,
    "imagefolder": imagefolder,
    **{form: copied(form) for form in ("vfd_bench", "red_bench", "geobench", "regiondrag", "inpaint4drag")},
}

# Values that JSON readers meet, as text, so that all that JSON's grammar allows and forbids is among them.
odd_values = st.sampled_from(
    (
        *("null", "true", "-1", "0", "1e20", "1e300", "1e999", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000),
        *('""', '"\\ud800"', '"\\u0000"', '"../x"', '"/etc/passwd"', '"' + "x" * 20_000 + '"', "[]", "{}", "[[1, 2]]"),
        *("[" * 50 + "]" * 50, "[" * 100_000, '{"a": {"a": {"a": 1}}}', "[[1, 2, 3], [4]]", '[["a", "b"], [null, {}]]'),
    )
)
replacements = st.one_of(
    st.tuples(st.just("bytes"), st.floats(0, 1), st.binary(max_size=8)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("value"), st.floats(0, 1), odd_values),
    st.tuples(st.just("value"), st.floats(0, 1), odd_values),
    st.tuples(st.just("picture"), st.sampled_from(["L", "RGBA", "I;16", "1", "LA", "P", "F"]), st.integers(0, 9)),
    st.tuples(
        st.sampled_from(["remove", "folder", "dangling", "loop", "empty", "renamed", "copied"]), st.none(), st.none()
    ),
)
mutations = st.lists(st.tuples(st.floats(0, 1), replacements), min_size=1, max_size=3)


def mutate(path, kind, first, second):
    content = path.read_bytes() if path.is_file() else b""
    if kind in ("remove", "folder", "dangling", "loop", "empty"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if kind == "bytes":
        at = int(first * len(content))
        path.write_bytes(content[:at] + second + content[at + len(second) :])
    elif kind == "cut":
        ends = sorted((int(first * len(content)), int(second * len(content))))
        path.write_bytes(content[: ends[0]] + content[ends[1] :])
    elif kind == "value":
        path.write_bytes(with_value(content, first, second))
    elif kind == "picture":
        size = [(50, 40), (64, 64), (96, 64), (31, 40), (87, 71), (1, 1), (50, 41), (600, 32), (64, 65), (50, 40)][
            second
        ]
        form = "TIFF" if first == "F" else "PNG"
        noise = np.random.default_rng(second).integers(0, 256, (size[1], size[0], 4), np.uint8)
        Image.fromarray(noise).convert("L" if first in ("F", "I;16") else first).convert(first).save(path, form)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "renamed":
        path.rename(path.with_suffix(path.suffix.upper()))
    elif kind == "copied":
        path.with_suffix(".jpg").write_bytes(content)


def with_value(content, place, value):
    """JSON with one of its values replaced; other content with its beginning replaced."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return value.encode(errors="surrogatepass") + content[len(value) :]
    places = places_in(parsed)
    if not places:
        return value.encode()
    node, key = places[min(int(place * len(places)), len(places) - 1)]
    node[key] = "@@here@@"
    return json.dumps(parsed).replace('"@@here@@"', value).encode()


def check_mutations(form, folder, changes):
    root = folder / "data"
    if root.exists():
        shutil.rmtree(root)
    LAYOUTS[form](root)
    for place, (kind, first, second) in changes:
        files = sorted(path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
        if files:
            with contextlib.suppress(OSError):
                mutate(files[min(int(place * len(files)), len(files) - 1)], kind, first, second)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for name in (form, "auto"):
        try:
            dataset = open_dataset(root, name)
        except DatasetError as error:
            assert error.problems
            assert all(problem.isprintable() and len(problem) < 2000 for problem in error.problems)
        else:
            for sample in dataset:
                write_sample(folder / "copy" / sample.name, sample)
                assert open_dataset(folder / "copy" / sample.name, "rotationbench")[0].full_digest == sample.full_digest
    with contextlib.redirect_stdout(io.StringIO()):
        validate.main([str(root)])
    assert time.process_time() - began < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def test_every_reader_has_a_layout():
    assert LAYOUTS.keys() == FORMATS.keys()


@pytest.mark.parametrize("form", LAYOUTS)
def test_layouts_are_whole_before_they_are_mutated(tmp_path, form):
    LAYOUTS[form](tmp_path / "data")
    assert len(open_dataset(tmp_path / "data")) >= 1


@pytest.mark.parametrize("form", LAYOUTS)
def test_mutated_inputs_are_samples_or_problems(tmp_path, form):
    run = settings(SEEDED, max_examples=25)(given(mutations)(lambda changes: check_mutations(form, tmp_path, changes)))
    run()


@pytest.mark.slow
@pytest.mark.parametrize("form", LAYOUTS)
def test_300_mutated_inputs_of_each_reader(tmp_path, form):
    run = settings(SEEDED, max_examples=300)(given(mutations)(lambda changes: check_mutations(form, tmp_path, changes)))
    run()
