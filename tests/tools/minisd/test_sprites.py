"""Objects of the npm package: no network, and no npm."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile

import numpy as np
import pytest

from rotationbench.errors import DatasetError, MissingWeightsError
from tools.minisd import sprites as sprites_module
from tools.minisd.sprites import (
    HELD_OUT,
    PLAIN,
    Thing,
    all_things,
    fetch,
    load_sprites,
    read_things,
    training_things,
)


def test_the_lists_are_sound_and_disjoint():
    held_out, plain = read_things(HELD_OUT), read_things(PLAIN)
    assert len(held_out) >= 60
    assert {thing.codepoint for thing in held_out}.isdisjoint(thing.codepoint for thing in plain)
    for things in (held_out, plain):
        assert len({thing.codepoint for thing in things}) == len({thing.name for thing in things}) == len(things)


@pytest.mark.parametrize("objects", ["few", "plain", "all"])
def test_held_out_objects_are_never_trained_on(assets, objects):
    codepoints = {thing.codepoint for thing in training_things(assets, objects)}
    assert ("270f" if objects == "few" else "2708") in codepoints
    assert "1f527" not in codepoints


def test_all_things_leave_out_faces_and_joined_codepoints(assets):
    assert {thing.codepoint: thing.name for thing in all_things(assets)} == {
        "1f528": "hammer",
        "270f": "pencil",
        "2708": "airplane",
        "1f527": "wrench",
    }


def test_sprites_are_cropped_square_with_alpha_multiplied_in(assets):
    (sprite,) = load_sprites(assets, [Thing("2708", "vehicle", "airplane")])
    height, width, _ = sprite.rgba.shape
    assert height == width == 40
    opaque = sprite.rgba[..., 3] > 0.5
    # The half disc is wider than tall: the square holds transparent rows above and below it.
    assert not opaque[:8].any() and not opaque[-8:].any() and opaque[20].any()
    np.testing.assert_allclose(sprite.rgba[~opaque], 0)
    np.testing.assert_allclose(sprite.rgba[opaque][:, :3], np.tile([1.0, 0.5, 0.0], (opaque.sum(), 1)), atol=0.01)


def test_missing_and_malformed_objects_are_named(assets, tmp_path):
    with pytest.raises(DatasetError, match=r"1f681\.webp.*helicopter"):
        load_sprites(assets, [Thing("1f681", "vehicle", "helicopter")])
    listing = tmp_path / "list.txt"
    listing.write_text("# comment\n1f528\ttool\thammer\nhammer\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 3: expected codepoint"):
        read_things(listing)


def test_the_package_is_fetched_once_and_checked(tmp_path, monkeypatch, assets):
    calls = []

    def pack(command: list[str], **_: object) -> None:
        calls.append(command)
        with tarfile.open(f"{command[-1]}/package.tgz", "w:gz") as archive:
            archive.add(assets, "package/assets")

    monkeypatch.setattr(subprocess, "run", pack)
    with pytest.raises(DatasetError, match="expected SHA-256"):
        fetch(tmp_path / "cache")

    def trusted(data: bytes) -> object:
        return type("Digest", (), {"hexdigest": lambda self: sprites_module.ARCHIVE_SHA256})()

    monkeypatch.setattr(hashlib, "sha256", trusted)
    folder = fetch(tmp_path / "cache")
    assert (folder / "1f528.webp").is_file()
    assert fetch(tmp_path / "cache") == folder
    assert len(calls) == 2


def test_a_missing_npm_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="npm pack"):
        fetch(tmp_path / "cache")
