"""Settings: typed, checked before anything runs, and turned into the objects they describe."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rotationbench.diffusion.limits import LORA_FOLDER, MAX_PIXELS, check_model_limits
from rotationbench.errors import ConfigError, RotationBenchError, one_line
from rotationbench.files import abandoned, remove
from rotationbench.method import DragMethod
from rotationbench.paths import project_root
from rotationbench.plugins import conf_folders
from rotationbench.settings import check_numbers

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion
    from rotationbench.engine import Engine

Schema = TypeVar("Schema")

MOST_WORKERS = 4096
"""More than a run can keep busy; see docs/scale.md."""
LOCKS = ("auto", "lease")


@dataclass
class ModelConfig:
    """`model`: which checkpoint, and how it is used. See `StableDiffusion` for the meaning of each.

    Here a model's limits and the methods' defaults meet. Where a model proposes a value (`conf/model`), the settings of
    methods (`conf/method`) take it in place of their own, which is the paper's; the command line counts before both. A
    method's file asks for a proposal by `${oc.select:model.<name>,<its own value>}`.

    Args:
        drag_steps: `max_steps` of methods that drag step by step.
        lora_steps: `lora.steps`.
        latent_lr: learning rate of the latent, of DragDiffusion and what builds on it.
        inversion_strength: the same methods' share of the DDIM steps.
        feature_index: the same methods' block of the UNet.
        sde_steps: `steps` of SDE-Drag.
        dift: changes to where metrics read diffusion features.
    """

    name: str = MISSING
    pretrained: str = MISSING
    vae: str | None = None
    resolution: int | None = None
    num_inference_steps: int = 50
    attention: str = "sdpa"
    compile: bool = False
    allow_pickle: bool = False
    single_file_config: str | None = None
    max_pixels: int = MAX_PIXELS
    drag_steps: int | None = None
    lora_steps: int | None = None
    latent_lr: float | None = None
    inversion_strength: float | None = None
    feature_index: int | None = None
    sde_steps: int | None = None
    dift: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_model_limits(self.resolution, self.num_inference_steps, self.max_pixels)


@dataclass
class DataConfig:
    """`data`: where the samples are, in which format, and which of them are meant."""

    name: str = MISSING
    root: str = MISSING
    format: str = "auto"
    split: str = "all"
    subset: str = "full"


@dataclass
class BenchmarkConfig:
    """Everything `task=benchmark` is told."""

    task: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluator: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    workers: int | None = None
    shard: str | None = None
    locks: str = "auto"
    metrics: Any = "fast"
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    results_dir: str = "results"
    cache_dir: str | None = None
    label: str | None = None
    save_latents: bool = False
    limit: int | None = None
    samples: Any = None
    overwrite: bool = False
    sheet_rows: int = 24
    sheet_pages: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.samples, str):
            self.samples = [self.samples]
        if self.samples is not None and not all(isinstance(pattern, str) for pattern in self.samples):
            raise ConfigError(f"samples: expected names or globs, got {self.samples!r}.")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit: expected a positive number or null, got {self.limit}.")
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise ConfigError(f"workers: expected 1 to {MOST_WORKERS} or null, got {self.workers}.")
        if self.locks not in LOCKS:
            raise ConfigError(f"locks: expected {' or '.join(LOCKS)}, got {self.locks!r}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed: expected 0 to 2³² − 1, got {self.seed}.")


def validated(schema: type[Schema], config: DictConfig | dict[str, Any], *, where: str = "") -> Schema:
    """An instance of the dataclass `schema` with the values of `config`.

    Args:
        schema: a dataclass; its fields are the keys that are allowed, with their types.
        config: the values.
        where: the key under which the user finds them, for the error message.

    Raises:
        ConfigError: for an unknown key, a wrong type, a missing value, a number that is not finite or beyond all
            sense, or a value that the dataclass itself refuses.
    """
    try:
        structure = OmegaConf.structured(schema)
        _unfreeze(structure)
        merged = OmegaConf.merge(structure, _plain(config))
        missing = sorted(f"{where}.{key}" if where else key for key in OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(f"{', '.join(missing)}: expected a value, got none.")
        check_numbers(OmegaConf.to_container(merged), where)
        return OmegaConf.to_object(merged)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = ".".join(part for part in (where, getattr(error, "full_key", None) or "") if part)
        raise ConfigError(f"{key or 'configuration'}: {reason}.") from error


def _plain(config: DictConfig | dict[str, Any]) -> dict[str, Any]:
    """`config` with what it takes from elsewhere looked up while it, and each group in it, stands in its place."""
    if isinstance(config, DictConfig):
        return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return config


def _unfreeze(node: DictConfig) -> None:
    """Let values be merged into a structure whose dataclasses are frozen."""
    OmegaConf.set_readonly(node, False)
    for key in node:
        if not OmegaConf.is_missing(node, key) and isinstance(node[key], DictConfig):
            _unfreeze(node[key])


def build_method(config: dict[str, Any] | DictConfig) -> DragMethod:
    """The drag method behind `method`: the dataclass that `_target_` names, with the other keys as its fields.

    What a composed section takes from others, such as the model's proposals, is looked up where it stands.

    Raises:
        ConfigError: when `_target_` is missing or names no dataclass with an `edit`, or when a key or value is wrong.
    """
    return cast(DragMethod, _built(config, "method", ("edit", "version")))


def build_engine(config: dict[str, Any] | DictConfig) -> Engine:
    """The engine behind `engine`: the dataclass that `_target_` names, with the other keys as its fields.

    Raises:
        ConfigError: when `_target_` is missing or names no dataclass with a `crew`, or when a key or value is wrong.
    """
    return cast("Engine", _built(config, "engine", ("crew",)))


def build_evaluator(config: dict[str, Any], *, metrics: Any, device: str) -> Any:
    """The evaluator behind `evaluator`; see `rotationbench.worker.Evaluator`.

    Raises:
        ConfigError: when it cannot be built.
    """
    return build_object(config, "evaluator", metrics=metrics, device=device)


def build_object(config: Any, where: str, **arguments: Any) -> Any:
    """The object behind a section: what `_target_` names, called with the other keys and with `arguments`.

    Raises:
        ConfigError: when it cannot be built; it names `where`, under which the user finds the section.
    """
    try:
        return instantiate(config, **arguments)
    except InstantiationException as error:
        # Hydra wraps what goes wrong while it builds an object; the reason is what a user can act on.
        if isinstance(error.__cause__, RotationBenchError):
            raise error.__cause__ from None
        raise ConfigError(f"{where}: {one_line(error.__cause__ or error)}") from error


def _built(config: dict[str, Any] | DictConfig, where: str, members: tuple[str, ...]) -> object:
    plain = _plain(config)
    settings = {key: value for key, value in plain.items() if key not in ("_target_", "name")}
    target = plain.get("_target_")
    try:
        schema = get_class(str(target))
    except Exception as error:
        raise ConfigError(f"{where}._target_: expected the path of a class, got {target!r}: {error}") from error
    if not is_dataclass(schema) or not all(hasattr(schema, name) for name in members):
        wanted = " and ".join(f"`{name}`" for name in members)
        raise ConfigError(f"{where}._target_: expected a dataclass with {wanted}, got {target}.")
    return validated(cast(type, schema), settings, where=where)


def named_model(name: str) -> ModelConfig | None:
    """The settings in `conf/model/<name>.yaml`, the project's own or a plug-in's; None when there is no such file.

    Raises:
        ConfigError: when they are incomplete or wrong.
    """
    for conf in conf_folders():
        for file in (conf / "model").glob("*.yaml"):
            if file.stem == name:
                return validated(ModelConfig, cast(DictConfig, OmegaConf.load(file)), where=f"model {name}")
    return None


def build_core(
    model: ModelConfig, *, device: str = "auto", dtype: str = "auto", cache_dir: str | Path | None = None
) -> StableDiffusion:
    """The core behind `model`. Within a process the last one built is kept, so that a sweep loads its model once.

    Args:
        model: the settings.
        device: `"auto"`, `"cpu"`, `"cuda"` or any name torch knows.
        dtype: `"auto"`, `"fp64"`, `"fp32"`, `"fp16"` or `"bf16"`.
        cache_dir: where LoRAs are kept; None keeps them nowhere.

    Raises:
        CheckpointError: when the checkpoint cannot be used.
        ConfigError: when a setting is wrong.
    """
    settings = {
        "pretrained": str(resolve_path(model.pretrained)),
        "vae": None if model.vae is None else str(resolve_path(model.vae)),
        "device": device,
        "dtype": dtype,
        "allow_pickle": model.allow_pickle,
        "single_file_config": model.single_file_config,
        "num_inference_steps": model.num_inference_steps,
        "resolution": model.resolution,
        "attention": model.attention,
        "compile_unet": model.compile,
        "max_pixels": model.max_pixels,
    }
    return _core(json.dumps(settings, sort_keys=True), None if cache_dir is None else _cache_folder(cache_dir))


def _cache_folder(cache_dir: str | Path) -> Path:
    folder = Path(cache_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in abandoned(folder / LORA_FOLDER):
            remove(leftover)
        reason = None if os.access(folder, os.W_OK) else "one that is read-only"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason is not None:
        raise ConfigError(
            f"cache_dir: {str(cache_dir)!r:.200}: expected a folder that can be written to, got {reason}."
        )
    return folder


@lru_cache(maxsize=1)
def _core(settings: str, cache_dir: Path | None) -> StableDiffusion:
    from rotationbench.diffusion.core import StableDiffusion  # noqa: PLC0415 - takes seconds; many tasks need no model

    return StableDiffusion.from_pretrained(**json.loads(settings), cache_dir=cache_dir)


def resolve_path(path: str | Path) -> Path | str:
    """`path` seen from the current directory or, failing that, from `project_root`; as it came when in neither."""
    candidates = (Path(path).expanduser(), project_root() / path)
    return next((candidate for candidate in candidates if candidate.exists()), path)
