import json
from pathlib import Path

import pytest

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset
from tools.dataset.generate import generated_sample
from tools.dataset.in_domain import in_domain_samples
from tools.dataset.real import real_sample
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


def test_every_recipe_has_its_sample():
    assert {f"gen-{name}" for name in RECIPE} == {path.name for path in ROOT.glob("gen-*")}
    assert len(RECIPE) == len(RECIPES)


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


def test_the_sprites_come_with_their_licence():
    assert "MIT License" in (project_root() / "data" / "sprites" / "README.md").read_text(encoding="utf-8")
    used = {Path(name).stem for name in (project_root() / "data" / "sprites").glob("*.webp")}
    assert {"wrench", "telescope", "strawberry"} <= used
