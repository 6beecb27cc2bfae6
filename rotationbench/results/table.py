"""The one table of edits: who made each, of what, at what cost, how it ended, and what was measured of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rotationbench.files import whole_file
from rotationbench.results.edit import Edit
from rotationbench.results.locks import table_lock
from rotationbench.results.storage import storage_errors
from rotationbench.results.store import ResultStore

TABLE_FILE = "edits.parquet"
TEXT_FILE = "edits.csv"
EXTENDED_EVERY = 60.0
"""Seconds between two tables of a run that goes on."""
LARGEST_SHARE = 0.05
"""Of a run's time that goes into its tables."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets take for a formula."""


class Tables:
    """The tables of a results folder, written again from time to time while a run goes on.

    Args:
        store: the results folder.
    """

    def __init__(self, store: ResultStore) -> None:
        self.store = store
        self._due = time.monotonic() + EXTENDED_EVERY

    def extend(self) -> None:
        """Write the tables, unless that was done a short while ago; of a long run it takes a twentieth at most.

        Raises:
            ResultsError: when they cannot be written.
        """
        started = time.monotonic()
        if started >= self._due:
            self.write()
            taken = time.monotonic() - started
            self._due = started + max(EXTENDED_EVERY, taken / LARGEST_SHARE)

    def write(self) -> pd.DataFrame:
        """Write the tables; returns them as one.

        Raises:
            ResultsError: when they cannot be written.
        """
        return write_table(self.store)


def write_table(store: ResultStore) -> pd.DataFrame:
    """Write `edits.parquet` and `edits.csv`, one row per edit, from the records and metrics; returns the table.

    Records that have not been touched since they were read last are not read again; see `Index`.

    Raises:
        ResultsError: when they cannot be written.
    """
    with storage_errors(store.root), table_lock(store.root):
        table = edits_table(store.index.edits())
        store.index.keep()
        with whole_file(store.root / TABLE_FILE) as temporary:
            table.to_parquet(temporary, index=False)
        with whole_file(store.root / TEXT_FILE) as temporary:
            harmless(table).to_csv(temporary, index=False)
    return table


def edits_table(edits: Iterable[Edit]) -> pd.DataFrame:
    """One row per edit.

    Distances are in pixels of the sample's picture; `final_distance` is the mean over the handles. `variant` is the
    label that repeated seeds share. Metrics stand last, under their own names, as float64 with NaN where there is no
    value. An edit that cannot be read has the status `damaged`, with the reason under `error`.
    """
    edits = list(edits)
    if not edits:
        return pd.DataFrame()
    measured = dict.fromkeys(name for edit in edits for name in edit.metrics)
    table = pd.DataFrame([_row(edit) | edit.metrics for edit in edits])
    for name in ("converged", "unchanged", "unmoved"):
        table[name] = table[name].astype("boolean")
    for name in measured:
        table[name] = pd.to_numeric(table[name]).astype("Float64").astype("float64")
    return table[[*(name for name in table if name not in measured), *measured]]


def _row(edit: Edit) -> dict[str, Any]:
    record, sample = edit.record, edit.record["sample"]
    distances = record.get("final_distances")
    # A remake that failed counts, not what it should have replaced.
    failure = record.get("remake") or record.get("error")
    status = "failed" if record.get("remake") else record["status"]
    return {
        "label": record["label"],
        "variant": variant_of(record),
        "method": record.get("method"),
        "sample": sample["name"],
        "seed": record.get("seed"),
        "split": sample.get("split"),
        "category": sample.get("category"),
        "angle": sample.get("angle"),
        "status": status,
        "error": edit.damage if failure is None else failure["message"],
        "seconds": record.get("seconds"),
        **{f"seconds_{phase}": seconds for phase, seconds in (record.get("phases") or {}).items()},
        "unet_calls": record.get("unet_calls"),
        "unet_images": record.get("unet_images"),
        "unet_grad_calls": record.get("unet_grad_calls"),
        "peak_memory_mb": record.get("peak_memory_mb"),
        "steps": record.get("steps"),
        "converged": record.get("converged"),
        "unchanged": record.get("unchanged"),
        "unmoved": record.get("unmoved"),
        "final_distance": float(np.mean(distances)) if distances else None,
        "sample_digest": sample.get("digest"),
        "fingerprint": record.get("fingerprint"),
    }


def variant_of(record: dict[str, Any]) -> str:
    """The label that repeated seeds of a record's edit share.

    Records of schema 1 have no field for it; there the seed stands at the label's end.
    """
    if "variant" in record:
        return record["variant"]
    return record["label"].removesuffix(f"-seed{record.get('seed')}")


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a quotation mark before every text that a spreadsheet would take for a formula."""

    def quoted(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value

    texts = [name for name in table if table[name].dtype == object or pd.api.types.is_string_dtype(table[name])]
    return table.assign(**{name: table[name].map(quoted) for name in texts})


def summary(table: pd.DataFrame, metrics: Sequence[str]) -> str:
    """The means of each variant's edits as text, with how many there are, of how many seeds, and how many failed.

    Args:
        table: see `edits_table`.
        metrics: columns to show beside the costs, as far as the table has them.
    """
    if table.empty:
        return "no edits"
    columns = [name for name in (*metrics, "final_distance", "seconds", "unet_calls") if name in table]
    made = table["status"] == "done"
    means = table.loc[made, columns].apply(pd.to_numeric, errors="coerce").groupby(table.loc[made, "variant"]).mean()
    variants = table.groupby("variant")
    means = means.reindex(sorted(variants.groups))
    means.insert(0, "edits", variants.size())
    if table["seed"].nunique() > 1:
        means.insert(1, "seeds", variants["seed"].nunique())
    means.insert(means.columns.get_loc("edits") + 1, "failed", (~made).groupby(table["variant"]).sum())
    return means.to_string(float_format=lambda value: f"{value:.3f}")
