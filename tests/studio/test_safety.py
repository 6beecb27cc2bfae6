"""Hostile uploads and requests: each is refused with the right status, and the studio goes on."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from studio_helpers import HOST, in_base64, make_studio, picture, png


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, with next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def refused(answer, status: int, says: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert "Traceback" not in answer.text


@pytest.fixture(autouse=True)
def still_alive(client):
    yield
    assert client.get("/api/jobs").status_code == 200


UPLOADS = {
    "a bomb of sides": (png_of_size(60_000, 60_000), "4096"),
    "a bomb of pixels": (png_of_size(4096, 4097), "4096"),
    "an area beyond the limit": (png_of_size(4096, 4096 - 1) + b"", "whole picture"),
    "half a picture": (png(picture())[:200], "whole picture"),
    "a script": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "known picture format"),
    "html": (b"<html><body onload=alert(1)>", "known picture format"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os", "known picture format"),
    "nothing": (b"", "known picture format"),
    "a picture of one pixel": (png(picture(1, 1)), "32"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "known picture format"),
}


@pytest.mark.parametrize("what", UPLOADS)
def test_hostile_pictures_are_refused(client, what):
    content, says = UPLOADS[what]
    refused(client.post("/api/pictures", content=content), 422, says)


def test_a_gif_of_many_frames_is_no_picture_here(client):
    stream = io.BytesIO()
    frames = [Image.new("L", (64, 64), index) for index in range(3)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    refused(client.post("/api/pictures", content=stream.getvalue()), 422, "known picture format")


def test_a_picture_of_more_pixels_than_allowed_is_not_decoded(tmp_path):
    with make_studio(tmp_path, "studio.most_pixels=5000") as client:
        refused(client.post("/api/pictures", content=png(picture())), 422, "at most 5000 pixels")
        assert client.post("/api/pictures", content=png(picture(64, 64))).status_code == 201


def test_more_bytes_than_allowed_are_refused_announced_or_not(tmp_path):
    with make_studio(tmp_path, "studio.most_upload_bytes=10000") as client:
        refused(client.post("/api/pictures", content=b"\0" * 10_001), 413)
        unannounced = (b"\0" * 1000 for _ in range(11))
        refused(client.post("/api/pictures", content=unannounced), 413)
        refused(client.post("/api/jobs", content=(b" " * 1000 for _ in range(11))), 413)
        refused(client.post("/api/pictures", content=b"x", headers={"content-length": "many"}), 400)


def test_no_more_pictures_are_kept_than_allowed(tmp_path):
    with make_studio(tmp_path, "studio.most_pictures=3") as client:
        kept = [client.post("/api/pictures", content=png(picture(seed=seed))).json()["picture"] for seed in range(5)]
        states = [client.get(f"/api/pictures/{name}").status_code for name in kept]
    assert states == [404, 404, 200, 200, 200]


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2f..%2fpyproject.toml",
        "/api/pictures/..%2f..%2fetc%2fpasswd",
        "/api/datasets/..%2f..%2fetc",
        "/api/datasets/cases/..%2frocket",
        "/api/datasets/cases/%2e%2e",
        "/api/results/samples/cat/edited",
        "/api/results/..%2fcases/cat/edited",
        "/api/results/%2e%2e/cases/edited",
        "/api/results/.staging/x/source",
    ],
)
def test_no_path_leads_out_of_the_folders(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422), answer.text
    assert b"root:" not in answer.content and b"import" not in answer.content


def test_names_that_lead_elsewhere_are_not_saved(client, drag, tmp_path):
    for name in ("../outside", "/tmp/outside", "a/b", "a\\b", ".hidden", "", " ", "nul\0", "line\nbreak"):
        refused(client.post("/api/samples", json={"annotation": drag(name=name)}), 422, "the name")
        refused(client.post("/api/jobs", json={"annotation": drag(name=name), "method": "nothing"}), 422, "the name")
    refused(client.post("/api/samples", json={"annotation": drag(name="x" * 300)}), 422)


DRAGS: dict[str, tuple[dict[str, Any], str]] = {
    "a point outside": ({"pairs": [[[30, 30], [5000, 34]]]}, "inside the picture"),
    "no pair": ({"pairs": []}, "at least one pair"),
    "pivot pairs only": ({"pairs": [[[30, 30], [30, 30]]]}, "differ"),
    "text for a point": ({"pairs": [[["30", "x"], [50, 34]]]}, "pairs.0.0"),
    "three coordinates": ({"pairs": [[[30, 30, 1], [50, 34]]]}, "pairs.0.0"),
    "a pivot beyond all bounds": ({"pivot": [1e8, 0], "pivot_given": False}, "pivot"),
    "an angle beyond all bounds": ({"angle": 1e6}, "angle"),
    "a field of another kind": ({"_target_": "os.system"}, "_target_"),
    "a mask of another size": ({"mask": in_base64(png(np.full((4, 4), 255, np.uint8)))}, "size"),
    "a mask that is a bomb": ({"mask": in_base64(png_of_size(40_000, 40_000))}, "the mask"),
    "a mask that is no base64": ({"mask": "%%%"}, "base64"),
    "an object mask that is text": ({"object_mask": in_base64(b"hello")}, "the object's mask"),
    "another picture's name": ({"picture": "0" * 64}, "kept here"),
    "a path for a picture": ({"picture": "../../etc/passwd"}, "picture"),
    "a prompt of megabytes": ({"prompt": "x" * 20_000}, "prompt"),
    "an origin elsewhere": ({"origin": {"dataset": "../..", "sample": "etc"}}, "data sets"),
    "an unknown origin": ({"origin": {"dataset": "cases", "sample": "../rocket"}}, "the name of a sample"),
    "too many pairs": ({"pairs": [[[1, 1], [2, 2]]] * 500}, "pairs"),
}


@pytest.mark.parametrize("what", DRAGS)
def test_drags_that_cannot_be_are_refused_before_anything_runs(client, drag, what):
    changes, says = DRAGS[what]
    before = client.get("/api/jobs").json()["jobs"]
    for path, request in (("/api/samples", {}), ("/api/jobs", {"method": "nothing"})):
        refused(client.post(path, json={"annotation": drag(**changes), **request}), 422, says)
    assert client.get("/api/jobs").json()["jobs"] == before


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "another class": ({"_target_": "os.system"}, "_target_"),
    "the environment": ({"rotation": "${oc.env:PATH}"}, "${"),
    "the environment, deeper": ({"lora": {"crop": "${oc.env:PATH}"}}, "${"),
    "an unknown setting": ({"strength": 1}, "method.strength"),
    "a value out of range": ({"max_steps": -1}, "method.max_steps"),
    "a value of another type": ({"max_steps": "many"}, "method.max_steps"),
    "a number beyond all bounds": ({"max_steps": 10**30}, "method.max_steps"),
    "a group for a number": ({"max_steps": {"a": 1}}, "max_steps"),
    "depth": ({"lora": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}, "levels"),
    "a dunder": ({"lora": {"__class__": 1}}, "names of settings"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_settings_that_cannot_be_are_refused_by_name(client, drag, what):
    settings, says = SETTINGS[what]
    request = {"annotation": drag(), "method": "rotationdrag", "settings": settings}
    refused(client.post("/api/jobs", json=request), 422, says)


def test_what_is_no_request_is_refused(client, drag):
    refused(client.post("/api/jobs", json={"annotation": drag(), "method": "../../os"}), 422, "method")
    refused(client.post("/api/jobs", json={"annotation": drag(), "method": "nothing", "seed": -1}), 422, "seed")
    refused(client.post("/api/jobs", content=b"not json", headers={"content-type": "application/json"}), 422)
    refused(client.post("/api/jobs", content=b"[" * 100_000, headers={"content-type": "application/json"}), 400)
    refused(client.post("/api/jobs", content=b'{"annotation": NaN}', headers={"content-type": "application/json"}), 422)
    refused(client.post("/api/jobs/999999/cancel"), 404)
    refused(client.post("/api/jobs/1e9/cancel"), 422)
    refused(client.get("/api/results.zip?sample=nowhere"), 404)
    refused(client.post("/api/masks?height=64&width=96", content=b"x"), 422, "the mask")
    refused(client.post("/api/masks?height=0&width=96", content=b"x"), 422)
    refused(client.post("/api/configs", content=b"[" * 100_000), 422, "valid JSON")
    refused(client.post("/api/configs", content=b'{"point": [[1, 2]]}'), 422, "even number")
    refused(client.delete("/api/jobs"), 405)
    refused(client.get("/docs"), 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"host": "example.org"}, 421),
        ({"host": "127.0.0.1.example.org:7861"}, 421),
        ({"host": ""}, 421),
    ],
)
def test_other_pages_cannot_make_the_browser_act(client, headers, status):
    refused(client.post("/api/pictures", content=png(picture()), headers=headers), status)


def test_a_name_that_somebody_points_here_reads_nothing(client):
    refused(client.get("/api/about", headers={"host": "rebound.example.org:7861"}), 421)


def test_the_studios_own_page_may_act(client):
    own = {"origin": HOST, "sec-fetch-site": "same-origin"}
    assert client.post("/api/pictures", content=png(picture()), headers=own).status_code == 201


def test_answers_tell_the_browser_to_load_nothing_from_elsewhere(client):
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_with_a_token_nothing_is_told_without_it(tmp_path):
    token = "a-secret-of-ours"
    with make_studio(tmp_path, token=token) as client:
        for path in ("/", "/api/about", "/page/main.js", "/api/events"):
            refused(client.get(path), 401)
        refused(client.post("/api/pictures", content=png(picture())), 401)
        refused(client.get("/?token=a-secret-of-theirs"), 401)
        refused(client.get("/api/about", headers={"authorization": "Bearer wrong"}), 401)
        refused(
            client.get("/api/about", headers={"cookie": "rotationbench_studio_7861=wr\xf6ng".encode("latin-1")}), 401
        )
        assert client.get("/api/about", headers={"authorization": f"Bearer {token}"}).status_code == 200
        welcomed = client.get(f"/?token={token}", follow_redirects=False)
        assert welcomed.status_code == 303
        assert "HttpOnly" in welcomed.headers["set-cookie"] and "SameSite=strict" in welcomed.headers["set-cookie"]
        assert client.get("/api/about").status_code == 200
        assert token not in client.get("/api/about").text
        # A studio beside it on another port has a cookie of its own: browsers send both to both.
        beside = TestClient(client.app, base_url="http://127.0.0.1:7862", cookies=client.cookies)
        refused(beside.get("/api/about"), 401)
        beside.get(f"/?token={token}")
        assert len(beside.cookies) == 2 and beside.get("/api/about").status_code == 200
