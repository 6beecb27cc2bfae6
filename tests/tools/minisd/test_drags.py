"""Measuring drags of the embedded model's world, and the search over their settings."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rotationbench.config import build_method, project_root
from tools.minisd import drags
from tools.minisd.drags import Drags, Setting, search
from tools.minisd.recipe import Composition
from tools.minisd.rotations import far_ends, rotation_samples
from tools.minisd.sprites import Sprite, Thing


def arrow(side: int = 64) -> Sprite:
    """A bar with a red head and a blue tail."""
    rgba = np.zeros((side, side, 4), np.float32)
    rgba[:, side // 2 - 8 : side // 2 + 8] = (0.1, 0.2, 0.9, 1)
    rgba[: side // 3, side // 2 - 14 : side // 2 + 14] = (0.9, 0.2, 0.1, 1)
    return Sprite(Thing("1f9ff", "thing", "arrow"), rgba)


WORLD = Composition(side=96, scale=(0.6, 0.7), whole=True)


@pytest.fixture(scope="module")
def samples():
    return rotation_samples([arrow()], WORLD, 4, seed=(1,))


def test_handles_are_at_opposite_ends():
    first, second = far_ends(arrow()) - 31.5
    assert min(np.linalg.norm(first), np.linalg.norm(second)) > 20
    assert first @ second < 0


class Suite:
    """Metrics that are the same for every edit, but for one that cannot be measured."""

    def evaluate(self, sample, edited, core):
        return dict.fromkeys(drags.METRICS, 1.0) | {"rotation_error": None}


def test_measurements_of_an_editor(samples):
    found = drags.measure(None, samples, lambda sample: sample.target, Suite(), "exact")
    assert isinstance(found, Drags) and (found.relative_errors() < 0.08).all()
    assert found.known("mean_distance") == [1.0] * 4 and found.known("rotation_error") == []
    still = drags.measure(None, samples, lambda sample: sample.image, Suite(), "nothing")
    assert still.relative_errors() == pytest.approx(1.0)


def test_the_search_finds_the_setting_that_turns_and_goes_on_where_it_ended(samples, tmp_path, monkeypatch):
    tried = []

    monkeypatch.setattr(drags, "SEARCHED", {"latent_lr": (0.03, 0.06), "feature_index": (3, 2)})

    def monotone(self, core, method):
        tried.append(asdict(self))
        return lambda sample: sample.target if self.latent_lr == 0.06 else sample.image

    monkeypatch.setattr(Setting, "editor", monotone)
    assert search(None, samples, Suite(), tmp_path).latent_lr == 0.06
    assert len(tried) == 3
    assert search(None, samples, Suite(), tmp_path).latent_lr == 0.06
    assert len(tried) == 3
    table = (tmp_path / "search.md").read_text(encoding="utf-8")
    assert "| latent_lr=0.03, feature_index=3 | 1.00 |" in table and "| latent_lr=0.06, feature_index=2 | 0.0" in table
    assert (tmp_path / "search-03.png").is_file()


def test_the_models_settings_are_those_of_its_methods():
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        config = compose("config", overrides=["model=mini", "method=rotationdrag"])
    method = build_method(OmegaConf.to_container(config.method, resolve=True))
    setting = Setting.of_model()
    assert (method.max_steps, method.latent_lr, method.feature_index) == (
        setting.max_steps,
        setting.latent_lr,
        setting.feature_index,
    )
    assert method.inversion_strength == setting.inversion_strength
    assert method.lora.steps == setting.lora_steps
