import json

import pytest

from rotationbench.errors import DatasetError
from tools.dataset.recipes import read_recipes

RECIPES = read_recipes()


def test_faulty_recipes_are_named(tmp_path):
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps([{"name": "spoon"}, {**vars(RECIPES[0]), "colour": "red"}]))
    with pytest.raises(DatasetError) as caught:
        read_recipes(path)
    assert "entry 1: expected the fields of a recipe" in str(caught.value)
    assert "entry 2: expected the fields of a recipe" in str(caught.value) and "colour" in str(caught.value)
