"""The one table of edits: who made each, of what, at what cost, how it ended, and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rotationbench.files import whole_file
from rotationbench.results.locks import table_lock
from rotationbench.results.store import Edit, ResultStore, storage_errors

TABLE_FILE = "edits.parquet"
TEXT_FILE = "edits.csv"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets take for a formula."""


def write_table(store: ResultStore) -> pd.DataFrame:
    """Write `edits.parquet` and `edits.csv`, one row per edit, from the records and metrics; returns the table.

    Raises:
        ResultsError: when they cannot be written.
    """
    with storage_errors(store.root), table_lock(store.root):
        table = edits_table(store.edits())
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
    rows, measured = [], dict[str, None]()
    for edit in edits:
        rows.append(_row(edit) | edit.metrics)
        measured |= dict.fromkeys(edit.metrics)
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
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
