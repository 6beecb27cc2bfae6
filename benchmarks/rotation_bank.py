"""Whether what RotationDrag may save changes its edits, beyond what another seed changes.

python -m benchmarks.rotation_bank --spacings 3 --seeds 0 1 2
python -m benchmarks.rotation_bank --spacings --inversion-steps 5 8 --seeds 0 1 -- limit=6 metrics=fast

Every sample is edited with the exact method, with a bank of rotated pictures of each spacing, and with rotated pictures
inverted in so many evaluations, under each seed; what follows `--` are settings of `run.py`. What is saved is compared
with what another seed changes, quantity by quantity. Run from the project's root.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cost import configuration
from rotationbench import benchmark
from rotationbench.errors import ResultsError
from rotationbench.files import whole_file
from rotationbench.labels import label_of
from rotationbench.pictures import read_rgb
from rotationbench.results import EDITED_FILE, Edit, ResultStore


@dataclass(frozen=True)
class Saving:
    """A way to edit for less.

    Args:
        label: of its edits, but for their seed.
        name: what the tables call it.
        setting: what sets it apart, as `run.py` takes it.
    """

    label: str
    name: str
    setting: str


EXACT = Saving("exact", "seeds", "method.rotation_bank=null")


def savings(spacings: Sequence[float], inversion_steps: Sequence[int] = ()) -> list[Saving]:
    """Banks of these spacings in degrees, and inversions of rotated pictures in so many evaluations."""
    return [
        *(
            Saving(f"bank-{degrees:g}", f"bank of {degrees:g}°", f"method.rotation_bank={degrees}")
            for degrees in spacings
        ),
        *(
            Saving(f"inverted-{steps}", f"inverted in {steps}", f"method.rotation_inversion_steps={steps}")
            for steps in inversion_steps
        ),
    ]


def make_edits(out: Path, settings: Sequence[str], ways: Sequence[Saving], seeds: Sequence[int]) -> None:
    """Edit every sample exactly and in every other way, into the results folder `out`, as far as that is not done.

    Raises:
        ResultsError: when an edit failed.
    """
    for seed, way in itertools.product(seeds, (EXACT, *ways)):
        own = ["method=rotationdrag", way.setting, f"seed={seed}", f"label={way.label}"]
        if benchmark.run(configuration(["limit=2", *settings, *own, f"results_dir={out}"])):
            raise ResultsError(
                f"{out / label_of(way.label, seed)}: expected edits to be made, got failures; see above."
            )


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


def compare(store: ResultStore, ways: Sequence[Saving], seeds: Sequence[int]) -> pd.DataFrame:
    """The changes that seeds and savings make.

    Returns:
        A line per comparison: `sample`, `compared` (`"seeds"` or the saving's name), the changes by quantity, and for
        savings `evaluations` relative to those of the exact method.
    """
    edits = {(edit.label, edit.sample_name): edit for edit in store.edits() if edit.done}
    lines: list[dict[str, object]] = []
    for sample in sorted({name for _, name in edits}):
        exact = {seed: edits[label_of(EXACT.label, seed), sample] for seed in seeds}
        for one, other in itertools.combinations(seeds, 2):
            lines.append({"sample": sample, "compared": EXACT.name} | changes(exact[one], exact[other]))
        for way, seed in itertools.product(ways, seeds):
            edit = edits[label_of(way.label, seed), sample]
            lines.append(
                {"sample": sample, "compared": way.name}
                | changes(edit, exact[seed])
                | {"evaluations": edit.record["unet_calls"] / exact[seed].record["unet_calls"]}
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
    parser.add_argument("--spacings", nargs="*", type=float, default=[3.0], help="of banks, in degrees")
    parser.add_argument("--inversion-steps", nargs="*", type=int, default=[], help="evaluations per rotated picture")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/rotation_bank"), help="results folder")
    parser.add_argument("settings", nargs="*", help="as run.py takes them")
    given = parser.parse_args(arguments)
    ways = savings(given.spacings, given.inversion_steps)
    make_edits(given.out, given.settings, ways, given.seeds)
    lines = compare(ResultStore(given.out), ways, given.seeds)
    with whole_file(given.out / "rotation_bank.csv") as file:
        lines.to_csv(file, index=False)
    with whole_file(given.out / "rotation_bank.md") as file:
        file.write_text(mean_changes(lines) + "\n", encoding="utf-8")
    print(mean_changes(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
