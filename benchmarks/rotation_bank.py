"""Whether RotationDrag's bank of rotated pictures changes its edits, beyond what another seed changes.

python -m benchmarks.rotation_bank --spacings 3 --seeds 0 1 2

Every sample is edited with the exact method and with a bank of each spacing, under each seed. What the bank changes is
compared with what another seed changes, quantity by quantity. Run from the project's root.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cost import ROWS, Options, columns, common_parser, configuration, load_core, options_of
from evaluation.suite import MetricSuite
from methods.rotationdrag import RotationDrag
from rotationbench.config import ModelConfig, build_method, validated
from rotationbench.datasets import open_dataset
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.errors import ConfigError
from rotationbench.files import whole_file
from rotationbench.sample import DragSample, to_uint8


@dataclass(frozen=True, eq=False)
class Measured:
    """One edit.

    Args:
        path: the handles `(steps + 1, N, 2)` in pixels.
        picture: uint8 `(H, W, 3)`.
        values: numbers by name: the final distance in pixels and the metrics.
        unet_calls: sequential UNet evaluations without those of the LoRA.
    """

    path: np.ndarray
    picture: np.ndarray
    values: dict[str, float]
    unet_calls: float


def edit(core: StableDiffusion, method: RotationDrag, sample: DragSample, seed: int, suite: MetricSuite) -> Measured:
    """Edit and measure one sample that is already at its working size."""
    core.cost.reset()
    result = method.edit(core, sample, seed=seed)
    cost = columns(core.cost.phases)
    path = np.stack([points.to_image(sample.size).xy for points in result.trajectory])
    goal = result.targets.to_image(sample.size).xy
    picture = to_uint8(result.edited)
    metrics = suite.evaluate(sample, picture, core, seed)
    values = {"final distance [px]": float(np.linalg.norm(path[-1] - goal, axis=1).mean())}
    values |= {name: value for name, value in metrics.items() if value is not None and np.isfinite(value)}
    return Measured(path, picture, values, cost["unet_calls"] - cost["unet_calls_lora"])


def changes(one: Measured, other: Measured) -> dict[str, float]:
    """By how much two edits of a sample differ, by quantity; of paths of unequal length the shorter one waits."""
    length = max(len(one.path), len(other.path))
    first, second = (
        np.concatenate([item.path, np.repeat(item.path[-1:], length - len(item.path), axis=0)]) for item in (one, other)
    )
    apart = np.linalg.norm(first - second, axis=2)
    found = {
        "path, mean [px]": float(apart.mean()),
        "path, farthest [px]": float(apart.max()),
        "picture [of 255]": float(np.abs(one.picture.astype(float) - other.picture).mean()),
    }
    shared = one.values.keys() & other.values.keys()
    return found | {name: abs(one.values[name] - other.values[name]) for name in sorted(shared)}


def compare(options: Options, spacings: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """Edit everything and compare.

    Returns:
        A line per comparison: `sample`, `compared` (`"seeds"` or the spacing), the changes by quantity, and for the
        spacings `evaluations` relative to those of the exact method.
    """
    config = configuration(ROWS["rotationdrag-exact"], options)
    exact = build_method(config["method"])
    if not isinstance(exact, RotationDrag):
        raise ConfigError(f"method: expected RotationDrag, got {type(exact).__name__}.")
    dataset = open_dataset(Path(options.data))
    suite = MetricSuite(metrics=options.metrics, device=options.device)
    lines: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as cache:
        core = load_core(options, validated(ModelConfig, config["model"], where="model"), Path(cache))
        for name in options.samples:
            sample: DragSample = dataset[name]
            sample = sample.resized(core.working_size(sample.size))
            edits = {
                (spacing, seed): edit(core, replace(exact, rotation_bank=spacing), sample, seed, suite)
                for seed in seeds
                for spacing in (None, *spacings)
            }
            for one, other in itertools.combinations(seeds, 2):
                lines.append({"sample": name, "compared": "seeds"} | changes(edits[None, one], edits[None, other]))
            for spacing, seed in itertools.product(spacings, seeds):
                banked, plain = edits[spacing, seed], edits[None, seed]
                lines.append(
                    {"sample": name, "compared": f"bank of {spacing:g}°"}
                    | changes(banked, plain)
                    | {"evaluations": banked.unet_calls / plain.unet_calls}
                )
            logging.info("%s: done", name)
    return pd.DataFrame(lines)


def markdown(table: pd.DataFrame) -> str:
    """The mean change of each quantity over samples and seeds, a column for what was compared."""
    means = table.groupby("compared", sort=False).mean(numeric_only=True).T
    lines = [
        "| mean change | " + " | ".join(str(name) for name in means.columns) + " |",
        "|---" + "|---:" * len(means.columns) + "|",
    ]
    for quantity, values in means.iterrows():
        cells = ["" if np.isnan(value) else f"{value:.3g}" for value in values]
        lines.append(f"| {quantity} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and write `rotation_bank.csv` and `rotation_bank.md`; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = common_parser("python -m benchmarks.rotation_bank", str(__doc__).splitlines()[0])
    parser.add_argument("--spacings", nargs="+", type=float, default=[3.0], help="degrees")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/cost"), help="folder for the tables")
    given = parser.parse_args(arguments)
    table = compare(options_of(given), given.spacings, given.seeds)
    given.out.mkdir(parents=True, exist_ok=True)
    with whole_file(given.out / "rotation_bank.csv") as file:
        table.to_csv(file, index=False)
    with whole_file(given.out / "rotation_bank.md") as file:
        file.write_text(markdown(table), encoding="utf-8")
    print(markdown(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
