from __future__ import annotations

import pytest

from rotationbench.errors import ConfigError
from tools.minisd.recipe import (
    load_recipe,
)


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_presets_load(preset):
    recipe = load_recipe(preset, ["seed=3"])
    assert recipe.seed == 3
    assert recipe.factor == 8
    grounds = {"cpu": {"plain", "gradient"}, "gpu": {"plain", "gradient", "scene", "texture", "photo"}}
    assert set(recipe.composition.backgrounds) == grounds[preset]


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("tpu", "seed=1", "no such preset"),
        ("cpu", "sead=1", "sead"),
        ("cpu", "seed=often", "seed"),
        ("cpu", "composition.side=100", "composition.side"),
        ("cpu", "composition.objects=some", "few, plain or all"),
    ],
)
def test_wrong_settings_are_refused(preset, override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(preset, [override])
