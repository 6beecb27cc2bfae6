"""`task=table1`: every feature on every pair, then the table, the figures and the worst pairs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from evaluation.table1.experiment import FeaturePlan, evaluate_pair, run_feature
from evaluation.table1.features.base import Extractor, Feature, Runtime
from evaluation.table1.hpatches import download_hpatches
from evaluation.table1.pairs import Protocol, check_pictures, make_pair, reference_crop, write_pairs
from evaluation.table1.pictures import Picture, described, open_pictures
from evaluation.table1.plots import draw_worst, plot_amounts, plot_rotation, save
from evaluation.table1.shards import earlier_features, merge, rows_of
from evaluation.table1.tables import TABLE_THRESHOLD, accuracies, write_tables
from evaluation.table1.warps import WarpRanges
from rotationbench.config import DataConfig, ModelConfig, build_engine, project_root, resolve_path, validated
from rotationbench.errors import CheckpointError, ConfigError, MissingWeightsError
from rotationbench.files import abandoned, remove
from rotationbench.names import checked_name, name_clashes, shortened
from rotationbench.results.store import storage_errors
from rotationbench.settings import check_between

log = logging.getLogger(__name__)

REFERRED_TO = {"task", "superpoint", "superpoint_open", "keypoints", "dift"}
"""Keys of the configuration that other keys take their values from."""

MOST_ON_A_SHEET = 100
LARGEST_SEED = 2**32 - 1
LARGEST_THRESHOLD = 1e6

COLUMNS = ["feature", "picture", "kind", "repetition", "amount", "height", "width", "corner_error"]


@dataclass
class PicturesConfig(DataConfig):
    """`data`: a folder of pictures or of HPatches sequences; `download` fetches the latter.

    Raises:
        ConfigError: for what only edits' data have, and for a download of anything but HPatches.
    """

    download: bool = False

    def __post_init__(self) -> None:
        for name, only in (("split", "all"), ("subset", "full")):
            if getattr(self, name) != only:
                raise ConfigError(f"data.{name}: expected {only} with task=table1, got {getattr(self, name)!r}.")
        if self.download and self.format != "hpatches":
            raise ConfigError(f"data.download: expected data.format=hpatches, got {self.format!r}.")


@dataclass
class Table1Config:
    """Everything `task=table1` is told.

    Args:
        data: the reference pictures.
        model: the diffusion model behind diffusion features.
        features: by name, each a dataclass named by `_target_` with its settings.
        cache_dir: where the configuration puts what is fetched.
        warps_per_image: warps of each type per picture.
        crop: `[height, width]` of the crops where pictures are large enough, in pixels.
        warps: the ranges of the warps.
        thresholds: corner errors up to which a pair is correct, in pixels; 3 is always among them.
        engine: where the features are evaluated.
        workers: processes for features without a model, None meaning one per core; on a cluster, actors for all.
        worst: pairs on the sheet of each feature; 0 makes no sheet.
        write_pairs: also write the pairs as pictures.
    """

    data: PicturesConfig = field(default_factory=PicturesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    features: dict[str, Any] = field(default_factory=dict)
    cache_dir: str | None = None
    engine: dict[str, Any] = field(default_factory=dict)
    warps_per_image: int = 5
    crop: tuple[int, int] = (480, 640)
    warps: WarpRanges = field(default_factory=WarpRanges)
    thresholds: list[float] = field(default_factory=lambda: [1.0, 3.0, 5.0])
    workers: int | None = None
    worst: int = 6
    write_pairs: bool = False
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    results_dir: str = "results"
    limit: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        given = [name for name in ("workers", "limit") if getattr(self, name) is not None]
        check_between(self, 1, None, *given, section="")
        check_between(self, 0, MOST_ON_A_SHEET, "worst", section="")
        check_between(self, 0, LARGEST_SEED, "seed", section="")
        if not self.thresholds or not all(0 < threshold <= LARGEST_THRESHOLD for threshold in self.thresholds):
            raise ConfigError(
                f"thresholds: expected pixels, more than 0 and at most {LARGEST_THRESHOLD:g}, "
                f"got {list(self.thresholds)}."
            )
        if not self.features:
            raise ConfigError("features: expected at least one, got none; for example features=[sift].")
        for name in self.features:
            checked_name(name, "features")
        for first, second in name_clashes(self.features):
            raise ConfigError(f"features: expected names that differ in more than capitals, got {first} and {second}.")


def run(cfg: DictConfig) -> int:
    """Make Table I; the exit status is 1 when no feature could run.

    Raises:
        ConfigError: when a setting is wrong.
        DatasetError: when pictures cannot be used or fetched.
    """
    config = _settings(cfg)
    features = {name: build_feature(name, settings) for name, settings in config.features.items()}
    protocol = Protocol(config.warps_per_image, config.crop, config.warps, config.seed)
    pictures = _pictures(config)
    check_pictures(pictures, protocol)
    folder = Path(config.results_dir).expanduser() / "table1"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in abandoned(folder):
            remove(leftover)
        return _run(config, features, protocol, pictures, folder)


def _run(
    config: Table1Config, features: Mapping[str, Feature], protocol: Protocol, pictures: list[Picture], folder: Path
) -> int:
    if config.write_pairs:
        for picture in pictures:
            write_pairs(folder / "pictures", picture, protocol)

    runtime = Runtime(config.model, config.device, config.dtype, config.seed)
    engine = build_engine(config.engine) if config.engine else None
    loaded: list[tuple[FeaturePlan, Extractor]] = []
    missing: dict[str, str] = {}
    for name, feature in features.items():
        try:
            extractor = feature.load(runtime)
        except (MissingWeightsError, CheckpointError) as error:
            missing[name] = str(error)
            log.warning("%s cannot run: %s", name, error)
            continue
        loaded.append((FeaturePlan(name, feature, runtime, protocol, folder / "features" / name), extractor))
    for plan, extractor in loaded:
        run_feature(plan, extractor, pictures, workers=config.workers, overwrite=config.overwrite, engine=engine)
        if config.worst:
            _write_sheet(folder / f"worst-{plan.name}.png", plan, extractor, pictures, config.worst)
    if not loaded:
        return 1
    earlier = earlier_features(folder / "features", pictures, protocol, apart_from=features)
    shards = [plan.shard(picture) for plan, _ in loaded for picture in pictures]
    shards += [shard for kept in earlier.values() for shard in kept.shards]
    merge(shards, folder / "pairs.parquet")
    notes = {plan.name: extractor.note for plan, extractor in loaded}
    notes |= {name: "; ".join(filter(None, [kept.note, "from an earlier run"])) for name, kept in earlier.items()}
    _write_results(folder, config, [*features, *earlier], described(pictures), missing, notes)
    return 0


def _write_results(
    folder: Path,
    config: Table1Config,
    features: list[str],
    pictures: str,
    missing: Mapping[str, str],
    notes: Mapping[str, str],
) -> None:
    """The table and the figures of what `pairs.parquet` holds."""
    pairs = pd.read_parquet(folder / "pairs.parquet", columns=COLUMNS)
    accuracy = accuracies(pairs, sorted({*config.thresholds, TABLE_THRESHOLD}))
    print(write_tables(folder, accuracy, features, pictures=pictures, missing=missing, notes=notes))
    shown = [name for name in features if name not in missing]
    for suffix in ("png", "pdf"):
        save(plot_rotation(pairs, shown), folder / f"rotation.{suffix}")
        save(plot_amounts(pairs, shown), folder / f"amounts.{suffix}")
    log.info("Written to %s.", folder)


def build_feature(name: str, config: Mapping[str, Any]) -> Feature:
    """The feature behind `features.<name>`: the dataclass that `_target_` names, the other keys as its fields.

    Raises:
        ConfigError: when `_target_` is missing or names no feature, or when a key or value is wrong.
    """
    where = f"features.{name}"
    target = config.get("_target_") if isinstance(config, Mapping) else None
    try:
        schema = get_class(str(target))
    except Exception as error:
        raise ConfigError(f"{where}._target_: expected the path of a class, got {target!r}.") from error
    if not is_dataclass(schema) or not hasattr(schema, "load"):
        raise ConfigError(f"{where}._target_: expected a dataclass with `load`, got {target}.")
    settings = {key: value for key, value in config.items() if key != "_target_"}
    try:
        return cast(Feature, validated(schema, settings, where=where))
    except ConfigError as error:
        if str(error).startswith(where):
            raise
        # A dataclass knows its settings, but not under which key the user finds it.
        raise ConfigError(f"{where}.{error}") from error


def _settings(cfg: DictConfig) -> Table1Config:
    """The settings of the task; one of other tasks that is not as the configuration has it is an error."""
    own = {item.name for item in fields(Table1Config)}
    others = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(project_root() / "conf" / "config.yaml")))
    for key, value in cast(dict[str, Any], OmegaConf.to_container(cfg)).items():
        if key not in own | REFERRED_TO and (key not in others or value != others[key]):
            raise ConfigError(f"{key}: task=table1 has no such setting, got {shortened(str(value))}.")
    plain = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    return validated(Table1Config, {key: value for key, value in plain.items() if key in own})


def _pictures(config: Table1Config) -> list[Picture]:
    root = Path(resolve_path(config.data.root)).expanduser()
    if config.data.download:
        download_hpatches(root)
    pictures = open_pictures(root, config.data.format)[: config.limit]
    log.info("%s: %s.", root, described(pictures))
    return pictures


def _write_sheet(path: Path, plan: FeaturePlan, extractor: Extractor, pictures: list[Picture], count: int) -> None:
    """Evaluate the `count` pairs with the largest errors again, and draw their matches."""
    columns = ["picture", "kind", "repetition", "corner_error"]
    rows = [rows_of(plan.shard(picture)).select(columns).to_pandas() for picture in pictures]
    pairs = pd.concat(rows, ignore_index=True)
    worst = pairs.sort_values("corner_error", ascending=False, na_position="first", kind="stable").head(count)
    by_name = {picture.name: picture for picture in pictures}
    drawn = []
    for row in worst.itertuples(index=False):
        image = by_name[row.picture].read()
        crop = reference_crop(image, plan.protocol)
        reference = crop.cut(image)
        pair = make_pair(image, crop, plan.protocol, picture=row.picture, kind=row.kind, repetition=int(row.repetition))
        outcome = evaluate_pair(plan.feature, extractor, extractor.reference(reference), pair, crop)
        drawn.append((row.picture, reference, pair, outcome))
    save(draw_worst(drawn, plan.name), path)
