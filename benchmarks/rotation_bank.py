"""Whether RotationDrag's bank of rotated pictures changes its edits, beyond what another seed changes.

python -m benchmarks.rotation_bank --spacings 3 --seeds 0 1 2
python -m benchmarks.rotation_bank --seeds 0 1 -- limit=6 metrics=fast

Every sample is edited with the exact method and with a bank of each spacing, under each seed; what follows `--` are
settings of `run.py`. What the bank changes is compared with what another seed changes, quantity by quantity. Run from
the project's root.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cost import configuration
from rotationbench import benchmark
from rotationbench.errors import ResultsError
from rotationbench.files import whole_file
from rotationbench.pictures import read_rgb
from rotationbench.results import EDITED_FILE, Edit, ResultStore


def label_of(spacing: float | None, seed: int) -> str:
    """The label of edits with a bank of this spacing in degrees, or, with None, of the exact method."""
    return f"exact-{seed}" if spacing is None else f"bank-{spacing:g}-{seed}"


def make_edits(out: Path, settings: Sequence[str], spacings: Sequence[float], seeds: Sequence[int]) -> None:
    """Edit every sample in every way, into the results folder `out`, as far as that is not done.

    Raises:
        ResultsError: when an edit failed.
    """
    for seed, spacing in itertools.product(seeds, (None, *spacings)):
        label = label_of(spacing, seed)
        bank = "null" if spacing is None else spacing
        own = ["method=rotationdrag", f"method.rotation_bank={bank}", f"seed={seed}", f"label={label}"]
        if benchmark.run(configuration(["limit=2", *settings, *own, f"results_dir={out}"])):
            raise ResultsError(f"{out / label}: expected edits to be made, got failures; see above.")


def changes(one: Edit, other: Edit) -> dict[str, float]:
    """By how much two edits of a sample differ, by quantity; of paths of unequal length the shorter one waits."""
    paths = [np.array(edit.record["trajectory"]) for edit in (one, other)]
    length = max(map(len, paths))
    first, second = (np.concatenate([path, np.repeat(path[-1:], length - len(path), axis=0)]) for path in paths)
    apart = np.linalg.norm(first - second, axis=2)
    pictures = [read_rgb(edit.folder / EDITED_FILE).astype(float) for edit in (one, other)]
    distances = [np.mean(edit.record["final_distances"]) for edit in (one, other)]
    found = {
        "path, mean [px]": float(apart.mean()),
        "path, farthest [px]": float(apart.max()),
        "picture [of 255]": float(np.abs(pictures[0] - pictures[1]).mean()),
        "final distance [px]": float(abs(distances[0] - distances[1])),
    }
    values = [{name: value for name, value in edit.metrics.items() if value is not None} for edit in (one, other)]
    shared = [name for name in values[0] if name in values[1] and np.isfinite([side[name] for side in values]).all()]
    return found | {name: abs(values[0][name] - values[1][name]) for name in shared}


def compare(store: ResultStore, spacings: Sequence[float], seeds: Sequence[int]) -> pd.DataFrame:
    """The changes that seeds and banks make.

    Returns:
        A line per comparison: `sample`, `compared` (`"seeds"` or the spacing), the changes by quantity, and for the
        spacings `evaluations` relative to those of the exact method.
    """
    edits = {(edit.label, edit.sample_name): edit for edit in store.edits() if edit.done}
    lines: list[dict[str, object]] = []
    for sample in sorted({name for _, name in edits}):
        exact = {seed: edits[label_of(None, seed), sample] for seed in seeds}
        for one, other in itertools.combinations(seeds, 2):
            lines.append({"sample": sample, "compared": "seeds"} | changes(exact[one], exact[other]))
        for spacing, seed in itertools.product(spacings, seeds):
            banked = edits[label_of(spacing, seed), sample]
            lines.append(
                {"sample": sample, "compared": f"bank of {spacing:g}°"}
                | changes(banked, exact[seed])
                | {"evaluations": banked.record["unet_calls"] / exact[seed].record["unet_calls"]}
            )
    return pd.DataFrame(lines)


def mean_changes(lines: pd.DataFrame) -> str:
    """The mean change of each quantity over samples and seeds in Markdown, a column for what was compared."""
    means = lines.groupby("compared", sort=False).mean(numeric_only=True).T
    shown = means.astype(object).where(means.notna(), "").rename_axis("mean change")
    return shown.to_markdown(floatfmt=".3g")


def main(arguments: Sequence[str] | None = None) -> int:
    """Edit, compare, and write `rotation_bank.csv` and `rotation_bank.md`; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rotation_bank", description=__doc__.splitlines()[0])
    parser.add_argument("--spacings", nargs="+", type=float, default=[3.0], help="degrees")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/rotation_bank"), help="results folder")
    parser.add_argument("settings", nargs="*", help="as run.py takes them")
    given = parser.parse_args(arguments)
    make_edits(given.out, given.settings, given.spacings, given.seeds)
    lines = compare(ResultStore(given.out), given.spacings, given.seeds)
    with whole_file(given.out / "rotation_bank.csv") as file:
        lines.to_csv(file, index=False)
    with whole_file(given.out / "rotation_bank.md") as file:
        file.write_text(mean_changes(lines) + "\n", encoding="utf-8")
    print(mean_changes(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
