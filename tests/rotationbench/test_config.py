from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra.utils import get_method
from omegaconf import OmegaConf
from tests_helpers import compose_config as composed

from rotationbench.config import (
    BenchmarkConfig,
    ModelConfig,
    build_core,
    build_evaluator,
    build_method,
    project_root,
    resolve_path,
    validated,
)
from rotationbench.errors import ConfigError

CONF = project_root() / "conf"
METHODS = sorted(file.stem for file in (CONF / "method").glob("*.yaml"))
MODELS = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
TASKS = sorted(file.stem for file in (CONF / "task").glob("*.yaml"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [model for model in MODELS if model != "local"])
def test_every_method_is_built_from_its_settings(method, model):
    settings = validated(BenchmarkConfig, composed(f"method={method}", f"model={model}"))
    built = build_method(settings.method)
    assert callable(built.edit)
    assert isinstance(built.version, int)


@pytest.mark.parametrize("method", METHODS)
def test_the_settings_file_lists_every_setting_of_its_method(method):
    from dataclasses import fields

    config = OmegaConf.to_container(composed(f"method={method}", "model=sd15").method, resolve=True)
    built = build_method(config)
    assert set(config) - {"name", "_target_"} == {field.name for field in fields(built)}


@pytest.mark.parametrize("method", METHODS)
def test_on_stable_diffusion_the_settings_are_the_methods_own_defaults(method):
    built = build_method(OmegaConf.to_container(composed(f"method={method}", "model=sd15").method, resolve=True))
    assert built == type(built)()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_names_a_function(task):
    assert callable(get_method(composed(f"task={task}").task._target_))


def test_the_evaluator_is_built():
    config = composed()
    assert callable(build_evaluator(config.evaluator, metrics="none", device="cpu").evaluate_edit)


@pytest.mark.parametrize("method", METHODS)
def test_methods_ask_for_nothing_that_no_model_can_propose(method):
    from dataclasses import fields

    text = (CONF / "method" / f"{method}.yaml").read_text(encoding="utf-8")
    asked = re.findall(r"\$\{oc\.select:model\.(\w+),", text)
    assert len(asked) == text.count("oc.select")
    assert set(asked) <= {field.name for field in fields(ModelConfig)}


def test_a_small_model_sets_its_own_limits():
    section = composed("method=dragdiffusion").method
    mini = build_method(OmegaConf.to_container(section, resolve=True))
    assert mini.max_steps == composed().model.drag_steps
    assert mini.lora.steps == composed().model.lora_steps
    # Composed, and not yet resolved.
    assert build_method(section) == mini


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method.lam=much"], r"method.lam: Value 'much'"),
        (["+method.lamb=1"], r"method.lamb: Key 'lamb' not in"),
        (["method.lora.rank=-1"], "lora.rank: expected 1 to 1280"),
        (["seed=1.5"], r"seed: Value '1.5'"),
        (["limit=0"], "limit: expected a positive number"),
        (["samples=[1]"], "samples: expected names or globs"),
        (["+model.colour=red"], "colour"),
        (["model=local"], "model.pretrained: expected a value, got none"),
        (["method._target_=methods.nowhere.Nothing"], "method._target_: expected the path of a class"),
        (["method._target_=pathlib.Path"], "method._target_: expected a dataclass"),
    ],
)
def test_mistakes_are_named_before_anything_runs(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_method(validated(BenchmarkConfig, composed(*overrides)).method)


def test_one_sample_may_be_named_without_brackets():
    assert validated(BenchmarkConfig, composed("samples=cat")).samples == ["cat"]


def test_paths_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_path("conf/config.yaml") == CONF / "config.yaml"
    Path("conf").mkdir()
    Path("conf/config.yaml").touch()
    assert resolve_path("conf/config.yaml") == Path("conf/config.yaml")
    assert resolve_path("owner/name") == "owner/name"


def test_a_cache_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    model = ModelConfig(name="local", pretrained=str(tmp_path / "nowhere"))
    for cache_dir in (tmp_path / "file", tmp_path / "file" / "below", "a\0b", "a" * 300):
        with pytest.raises(ConfigError, match=r"^cache_dir: .*expected a folder that can be written to, got"):
            build_core(model, cache_dir=cache_dir)
