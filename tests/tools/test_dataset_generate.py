import json
from pathlib import Path

import numpy as np
import pytest

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset
from rotationbench.errors import DatasetError
from rotationbench.rotation import turn_mask, turn_points
from tools.dataset.generate import generated_sample
from tools.dataset.geometry import filled, painted_mask
from tools.dataset.in_domain import in_domain_samples
from tools.dataset.layers import CutOut, Layer, Thing, composed
from tools.dataset.real import photograph, real_sample
from tools.dataset.recipes import read_recipes

ROOT = project_root() / "data" / "rotationbench"
RECIPES = read_recipes()
RECIPE = {recipe.name: recipe for recipe in RECIPES}


def same(made, kept):
    assert made.digest == kept.digest
    for name in ("angle", "pivot", "split", "category", "licence", "source", "difficulty", "extra"):
        assert getattr(made.meta, name) == getattr(kept.meta, name)
    assert (made.meta.object_mask == kept.meta.object_mask).all()


# Textured ground and a second object, a part that turns, a box with something in it.
@pytest.mark.parametrize("name", ["spoon", "telescope-tube", "box-of-strawberries"])
def test_the_generator_makes_its_samples_again_bit_for_bit(name):
    made = generated_sample(RECIPE[name])
    kept = open_dataset(ROOT / made.name)[0]
    same(made, kept)
    assert (made.target == kept.target).all()
    assert (made.meta.object_mask_target == kept.meta.object_mask_target).all()


def test_the_in_domain_samples_are_made_again():
    samples = in_domain_samples()
    assert {sample.name for sample in samples} == {path.name for path in ROOT.glob("in-*")}
    for made in samples:
        kept = open_dataset(ROOT / made.name)[0]
        assert (made.sources.xy == kept.sources.xy).all() and (made.targets.xy == kept.targets.xy).all()
        assert made.meta.angle == kept.meta.angle and made.meta.pivot == kept.meta.pivot
        # Interpolation rounds differently on different processors.
        for ours, theirs in ((made.image, kept.image), (made.target, kept.target)):
            assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 2
        for ours, theirs in ((made.mask, kept.mask), (made.meta.object_mask, kept.meta.object_mask)):
            assert (ours != theirs).mean() < 1e-3


def test_every_recipe_has_its_sample():
    assert {f"gen-{name}" for name in RECIPE} == {path.name for path in ROOT.glob("gen-*")}
    assert len(RECIPE) == len(RECIPES)


def test_faulty_recipes_are_named(tmp_path):
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps([{"name": "spoon"}, {**vars(RECIPES[0]), "colour": "red"}]))
    with pytest.raises(DatasetError) as caught:
        read_recipes(path)
    assert "entry 1: expected the fields of a recipe" in str(caught.value)
    assert "entry 2: expected the fields of a recipe" in str(caught.value) and "colour" in str(caught.value)


def test_annotations_make_the_real_samples_again():
    drags = json.loads((project_root() / "tools/dataset/drags.json").read_text(encoding="utf-8"))
    photos = json.loads((project_root() / "tools/dataset/photos.json").read_text(encoding="utf-8"))
    assert {drag["name"] for drag in drags} == {path.name for path in ROOT.iterdir() if path.is_dir()} - {
        *(f"gen-{name}" for name in RECIPE),
        *(sample.name for sample in in_domain_samples()),
    }
    for drag in drags[::6]:
        kept = open_dataset(ROOT / drag["name"])[0]
        same(real_sample(drag, photos[drag["photo"]], kept.image), kept)


def test_a_photograph_is_cropped_and_resized(tmp_path):
    from PIL import Image

    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[2:38, 8:52] = 200
    (tmp_path / "package").mkdir()
    Image.fromarray(pixels).save(tmp_path / "package" / "a.png")
    about = {"package": "p", "file": "package/a.png", "crop": [20, 10, 40, 30], "size": [10, 8]}
    assert (photograph(about, [tmp_path]) == np.full((8, 10, 3), 200)).all()
    with pytest.raises(FileNotFoundError, match=r"b\.png of the package p"):
        photograph(about | {"file": "package/b.png"}, [tmp_path])


# --- geometry and layers


def test_positive_turns_are_clockwise_on_the_screen():
    assert turn_points(np.array([[10.0, 0.0]]), (0.0, 0.0), 90) == pytest.approx(np.array([[0.0, 10.0]]))
    square = filled(np.array([[60, 48], [70, 48], [70, 52], [60, 52]]), (100, 100))
    rows, columns = np.nonzero(turn_mask(square, (50.0, 50.0), 90))
    assert (columns.mean(), rows.mean()) == pytest.approx((50, 65), abs=0.6)


def test_painted_masks_cover_every_pose_with_a_border():
    stick = filled(np.array([[50, 20], [54, 20], [54, 50], [50, 50]]), (100, 100))
    mask = painted_mask(stick, (52.0, 50.0), 60, 6)
    for angle in (0, 17, 44, 60):
        assert mask[turn_mask(stick, (52.0, 50.0), angle)].all()
    assert mask[35, 46]
    assert not mask[35, 35]
    assert not mask[80:].any()


def test_layers_turn_about_the_pivot_exactly():
    rgba = np.zeros((9, 9, 4))
    rgba[4, 4] = 1
    layer = Layer(CutOut(rgba), (4.0, 4.0), (30.0, 20.0), 1.0, 0.0, moves=True)
    drawn = layer.turned((20.0, 20.0), 90).drawn((50, 50))[..., 3]
    assert np.unravel_index(drawn.argmax(), drawn.shape) == (30, 20)


def test_what_lies_in_front_hides_what_turns():
    full = CutOut(np.ones((20, 20, 4)) * np.array([0.5, 0.5, 0.5, 1]))
    turning = Thing((Layer(full, (10, 10), (32, 32), 1.0, 0.0, moves=True),))
    front = Thing((Layer(full, (10, 10), (37, 32), 1.0, 0.0),))
    _, alone = composed(np.ones((64, 64, 3)), [turning])
    _, hidden = composed(np.ones((64, 64, 3)), [turning, front])
    assert hidden.sum() == pytest.approx(alone.sum() * 0.25, rel=0.1)
    assert not (hidden & ~alone).any()


def test_shadows_are_part_of_the_picture_and_not_of_the_object():
    full = CutOut(np.ones((20, 20, 4)))
    layer = Layer(full, (10, 10), (32, 32), 1.0, 0.0, moves=True)
    picture, seen = composed(np.ones((64, 64, 3)), [Thing((layer,), shadow=0.4)])
    assert picture[46, 42].max() < 230
    assert not seen[46, 42]


def test_the_sprites_come_with_their_licence():
    assert "MIT License" in (project_root() / "data" / "sprites" / "README.md").read_text(encoding="utf-8")
    used = {Path(name).stem for name in (project_root() / "data" / "sprites").glob("*.webp")}
    assert {"wrench", "telescope", "strawberry"} <= used
