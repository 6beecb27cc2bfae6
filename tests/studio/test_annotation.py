"""Samples through the studio: what is opened, drawn and saved is what lies in the folder."""

from __future__ import annotations

import base64
import io
import json
import shutil
from typing import Any

import numpy as np
from PIL import Image
from studio_helpers import in_base64, make_studio, picture, png
from tests_helpers import GOLDEN

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset, write_sample
from rotationbench.datasets.validate import problems_of
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_points
from rotationbench.sample import DragSample, SampleMeta

SENT = ("name", "prompt", "picture", "pairs", "pivot", "pivot_given", "angle", "mask", "object_mask", "origin")


def sent_back(opened: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What the page sends of what it has opened."""
    return {key: opened[key] for key in SENT} | changes


def test_a_sample_that_is_opened_and_saved_is_the_same_sample(tmp_path):
    names = ["cat-tilt-right", "clock-hour-hand", "gen-alarm-clock-hand", "gen-anchor"]
    data = tmp_path / "data"
    for name in names:
        shutil.copytree(project_root() / "data" / "rotationbench" / name, data / name)
    with make_studio(tmp_path, f"studio.data=[{data}]") as client:
        assert client.get("/api/datasets/data").json()["samples"] == names
        for name in names:
            opened = client.get(f"/api/datasets/data/{name}").json()
            saved = client.post("/api/samples", json={"annotation": sent_back(opened)})
            assert saved.status_code == 201, saved.text
            assert saved.json()["left_out"] == []
    before, after = (open_dataset(root, split="any") for root in (data, tmp_path / "samples"))
    for name in names:
        one, other = before[name], after[name]
        np.testing.assert_array_equal(other.image, one.image)
        np.testing.assert_array_equal(other.mask, one.mask)
        assert sorted(map(str, other.sources.xy)) == sorted(map(str, one.sources.xy))
        assert other.prompt == one.prompt and other.pix_step == one.pix_step
        for key in ("split", "category", "licence", "source", "pivot", "angle", "difficulty", "extra"):
            assert getattr(other.meta, key) == getattr(one.meta, key), key
        for mine, theirs in ((other.target, one.target), (other.meta.object_mask, one.meta.object_mask)):
            assert (mine is None) == (theirs is None)
            assert mine is None or np.array_equal(mine, theirs)
    assert problems_of(tmp_path / "samples")[1] == []


def test_what_belongs_to_another_drag_stays_behind(tmp_path):
    data = tmp_path / "data"
    shutil.copytree(project_root() / "data" / "rotationbench" / "gen-anchor", data / "gen-anchor")
    with make_studio(tmp_path, f"studio.data=[{data}]") as client:
        opened = client.get("/api/datasets/data/gen-anchor").json()
        assert opened["exact_result"]
        turned = sent_back(opened, name="turned", angle=None, pivot=None)
        saved = client.post("/api/samples", json={"annotation": turned}).json()
    assert saved["left_out"] == ["the exact result", "the object's mask after the turn"]
    sample = open_dataset(tmp_path / "samples", split="any")["turned"]
    assert sample.target is None and sample.meta.object_mask_target is None
    assert sample.meta.object_mask is not None


def test_what_was_drawn_lies_in_the_folder_pixel_for_pixel(client, drag, tmp_path):
    generator = np.random.default_rng(1)
    mask, object_mask = (generator.random((64, 96)) < share for share in (0.7, 0.4))
    mask[30, 30] = True
    pivot, angle = [48.0, 32.0], 33.0
    target = turn_points(np.array([[30.0, 30.0]]), pivot, angle)[0].round().tolist()
    annotation = drag(
        name="drawn",
        prompt='<b>a "prompt"</b> & more, ünïcode',
        pairs=[[[30, 30], target]],
        pivot=pivot,
        angle=angle,
        mask=in_base64(png(mask.astype(np.uint8) * 255)),
        object_mask=in_base64(png(object_mask.astype(np.uint8) * 255)),
    )
    saved = client.post("/api/samples", json={"annotation": annotation})
    assert saved.status_code == 201, saved.text
    opened = client.get("/api/datasets/samples/drawn").json()
    assert sent_back(opened, origin=None) == annotation | {"pivot_given": True, "origin": None}
    sample = _folder(client)["drawn"]
    np.testing.assert_array_equal(sample.image, picture())
    np.testing.assert_array_equal(sample.mask, mask)
    np.testing.assert_array_equal(sample.meta.object_mask, object_mask)
    assert sample.sources.xy.tolist() == [[30, 30], pivot] and sample.targets.xy.tolist() == [target, pivot]
    assert sample.meta.pivot == tuple(pivot) and sample.meta.angle == angle
    assert sample.digest == saved.json()["digest"] == opened["digest"]


def _folder(client: Any) -> Any:
    folders = {one["name"]: one["folder"] for one in client.get("/api/about").json()["datasets"]}
    return open_dataset(folders["samples"], split="any")


def test_nothing_is_written_over_without_being_asked(client, drag):
    first = drag(name="taken")
    assert client.post("/api/samples", json={"annotation": first}).status_code == 201
    other = first | {"prompt": "another"}
    for name in ("taken", "Taken"):
        refused = client.post("/api/samples", json={"annotation": other | {"name": name}})
        assert refused.status_code == 409
    # Where capitals make no difference, the other name would be the same folder.
    assert (
        client.post("/api/samples", json={"annotation": other | {"name": "TAKEN"}, "overwrite": True}).status_code
        == 409
    )
    assert _folder(client)["taken"].prompt == "noise"
    assert client.post("/api/samples", json={"annotation": other, "overwrite": True}).status_code == 201
    assert _folder(client)["taken"].prompt == "another"


def test_a_sample_that_contradicts_itself_is_not_saved(client, drag):
    wrong = drag(name="wrong", pivot=[48, 32], angle=90.0)
    refused = client.post("/api/samples", json={"annotation": wrong})
    assert refused.status_code == 422 and "where pivot and angle lead" in refused.json()["detail"]
    assert "wrong" not in _folder(client).names
    assert not [path for path in _folder(client).root.iterdir() if path.name.startswith(".")]


def test_an_empty_mask_is_no_mask(client, drag):
    empty = in_base64(png(np.zeros((64, 96), np.uint8)))
    assert client.post("/api/samples", json={"annotation": drag(name="bare", mask=empty)}).status_code == 201
    assert _folder(client)["bare"].mask is None


def test_the_files_of_the_rotationdrag_interface_are_taken(client):
    case = GOLDEN / "cases" / "cat"
    config = json.loads((case / "config.json").read_text(encoding="utf-8"))
    read = client.post("/api/configs", content=(case / "config.json").read_bytes()).json()
    assert read["prompt"] == config["prompt"]
    points = config["point"]
    pairs = [list(pair) for pair in zip(points[::2], points[1::2], strict=True)]
    fixed = [source for source, target in pairs if source == target]
    assert read["pivot"] == (fixed[0] if len(fixed) == 1 else None)
    assert read["pairs"] == [pair for pair in pairs if pair[0] != pair[1]]
    with Image.open(case / "mask.png") as mask:
        height, width, levels = mask.height, mask.width, np.array(mask.convert("L"))
    answer = client.post(f"/api/masks?height={height}&width={width}", content=(case / "mask.png").read_bytes()).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["mask"]))) as taken:
        np.testing.assert_array_equal(np.array(taken) > 127, levels > 127)


def test_points_that_stay_are_told_apart_from_the_pivot(tmp_path):
    sources = ImagePoints(np.array([[20.0, 20.0], [50.0, 40.0], [60.0, 30.0]]))
    targets = ImagePoints(np.array([[30.0, 20.0], [50.0, 40.0], [60.0, 30.0]]))
    for name, meta in (("two-fixed", SampleMeta()), ("stated", SampleMeta(pivot=(60.0, 30.0)))):
        write_sample(tmp_path / "data" / name, DragSample(name, picture(), "", sources, targets, meta=meta))
    with make_studio(tmp_path, f"studio.data=[{tmp_path / 'data'}]") as client:
        both = client.get("/api/datasets/data/two-fixed").json()
        assert both["pivot"] is None and len(both["pairs"]) == 3
        stated = client.get("/api/datasets/data/stated").json()
        assert stated["pivot"] == [60.0, 30.0] and stated["pivot_given"]
        assert stated["pairs"] == [[[20.0, 20.0], [30.0, 20.0]], [[50.0, 40.0], [50.0, 40.0]]]
