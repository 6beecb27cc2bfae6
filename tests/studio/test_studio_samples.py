"""Samples through the studio: what is opened, drawn and saved is what lies in the folder; and forms from methods."""

from __future__ import annotations

import base64
import io
import json
import shutil
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studio_helpers import in_base64, make_studio, methods_on_offer, picture, png
from tests_helpers import GOLDEN

from rotationbench.config import build_method, project_root
from rotationbench.datasets import open_dataset, write_sample
from rotationbench.datasets.validate import problems_of
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.rotation import turn_points
from rotationbench.sample import DragSample, SampleMeta
from studio.forms import chosen_method, documented_arguments

METHODS = sorted(file.stem for file in (project_root() / "conf" / "method").glob("*.yaml"))
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


def test_a_picture_is_turned_upright_as_its_camera_says(client):
    image = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", exif=exif)
    kept = client.post("/api/pictures", content=stream.getvalue()).json()
    assert (kept["height"], kept["width"]) == (96, 64)
    with Image.open(io.BytesIO(client.get(f"/api/pictures/{kept['picture']}").content)) as upright:
        np.testing.assert_array_equal(np.array(upright), np.rot90(image, -1))


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


def test_a_folder_that_is_absent_is_refused_by_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"studio\.data.*nothing"):
        make_studio(tmp_path, f"studio.data=[{tmp_path / 'absent'}]")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"studio\.samples.*a file"):
        make_studio(tmp_path, f"studio.samples={tmp_path / 'file'}")


# --- forms -----------------------------------------------------------------------------------------------------------


def leaves(form: list[dict[str, Any]], prefix: str = "") -> dict[str, dict[str, Any]]:
    found = {}
    for field in form:
        key = f"{prefix}{field['key']}"
        found |= leaves(field["fields"], f"{key}.") if field["kind"] == "group" else {key: field}
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_form_has_every_setting_with_its_default_and_explanation(name):
    offered = methods_on_offer()[name]
    method = build_method(offered.config)
    form = offered.form["fields"]
    assert [field["key"] for field in form] == [item.name for item in fields(method)]
    for key, field in leaves(form).items():
        assert field["doc"], f"{name}.{key} is explained nowhere"
        if "." not in key:
            assert field["default"] == getattr(method, key) or field["kind"] == "other"
        if field["kind"] == "choice":
            assert field["default"] in field["choices"]
    assert json.dumps(offered.form)
    assert offered.form["about"][0]


def test_a_form_knows_types_ranges_and_what_may_be_left_out():
    form = leaves(methods_on_offer()["rotationdrag"].form["fields"])
    assert form["max_steps"]["kind"] == "whole" and form["max_steps"]["above"] and form["max_steps"]["low"] == 0
    assert form["inversion_strength"] | {"doc": ""} == {
        "key": "inversion_strength",
        "kind": "number",
        "nullable": False,
        "default": 0.75,
        "doc": "",
        "low": 0,
        "high": 1,
        "above": True,
    }
    assert form["rotation"]["choices"] == ["paper", "released"]
    assert form["background_without_mask"]["kind"] == "switch"
    assert form["rotation_bank"]["nullable"] and form["rotation_bank"]["default"] is None
    assert (form["lora.rank"]["low"], form["lora.rank"]["high"]) == (1, 1280)
    group = next(field for field in methods_on_offer()["fastdrag"].form["fields"] if field["key"] == "lora")
    assert group["nullable"] and group["default"] is False and len(group["fields"]) == 6


def test_changes_reach_the_method_and_nothing_else():
    offered = methods_on_offer()["rotationdrag"]
    method, config = chosen_method(offered, {"max_steps": 7, "lora": {"steps": 3}, "rotation_bank": 2.5})
    assert (method.max_steps, method.lora.steps, method.rotation_bank) == (7, 3, 2.5)
    assert method.lora.rank == build_method(offered.config).lora.rank
    assert config["_target_"] == offered.config["_target_"]
    without, _ = chosen_method(offered, {"lora": None})
    assert without.lora is None
    switched_on, _ = chosen_method(methods_on_offer()["fastdrag"], {"lora": {}})
    assert switched_on.lora is not None and switched_on.lora.rank == 16


def test_arguments_are_read_from_the_docstrings_of_all_bases():
    class Base:
        """A base.

        Args:
            first: what it is,
                on two lines.
            second: of the base.
        """

    class Derived(Base):
        """Derived.

        Args:
            second: of the derived; with a colon: here.

        Raises:
            ValueError: never.
        """

    assert documented_arguments(Derived) == {
        "first": "what it is, on two lines.",
        "second": "of the derived; with a colon: here.",
    }
