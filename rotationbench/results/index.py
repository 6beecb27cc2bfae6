"""`Index`: what the records of a results folder say in short, so that thousands of them need not be read again."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from rotationbench.files import folder_state, whole_file
from rotationbench.results.edit import Edit, edit_folders, read_edit
from rotationbench.results.locks import LOCKS
from rotationbench.results.record import WEIGHTS

INDEX_FILE = f"{LOCKS}/index.json"
VERSION = 1
"""Raised when `in_short` keeps something else, or other records count as damaged."""
IN_SHORT = (
    *("label", "variant", "method", "seed", "sample", "status", "fingerprint", "identity", "files", "weights_hash"),
    *("seconds", "phases", "unet_calls", "unet_images", "unet_grad_calls", "peak_memory_mb"),
    *("steps", "converged", "unchanged", "unmoved", "final_distances"),
)
"""What is kept of a record; of `error` and `remake` only the message, of `config` what says which weights are read."""

log = logging.getLogger(__name__)


class Index:
    """All edits of a results folder in short, kept in memory and, beside the locks, on disk.

    A record is read when a file beside it, or itself, has been written since it was read last: by whomever, for the
    state of each folder is compared every time. What is on disk stands behind its own hash; any other content of the
    file counts as none.

    Args:
        root: the results folder; it need not be there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[str | None, Edit]] | None = None
        self._on_disk: dict[str, str | None] = {}

    def edits(self) -> list[Edit]:
        """All edits, by label and sample, the damaged ones included, which are logged when they are found.

        Their records hold what `in_short` leaves of them: enough for tables, and to tell what is done and with which
        settings. They must not be written back.
        """
        before = self._read() if self._known is None else self._known
        known: dict[str, tuple[str | None, Edit]] = {}
        for folder in edit_folders(self._root):
            key, state = f"{folder.parent.name}/{folder.name}", folder_state(folder)
            entry = before.get(key)
            if entry is None or entry[0] != state:
                edit = read_edit(folder, thorough=False)
                if edit is None:
                    continue
                if edit.damage is not None:
                    log.warning("%s", edit.damage)
                entry = state, Edit(folder, in_short(edit.record), edit.metrics, edit.damage)
            known[key] = entry
        self._known = known
        return [edit for _, edit in known.values()]

    def keep(self) -> None:
        """Write what `edits` found last for the next run, the damaged ones left out, unless it is there already."""
        sound = {key: entry for key, entry in (self._known or {}).items() if entry[1].damage is None}
        states = {key: state for key, (state, _) in sound.items()}
        if states == self._on_disk:
            return
        rows = {key: [state, edit.record, edit.metrics] for key, (state, edit) in sound.items()}
        text = json.dumps({"version": VERSION, "edits": rows}).encode()
        with whole_file(self._root / INDEX_FILE) as temporary:
            temporary.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
        self._on_disk = states

    def _read(self) -> dict[str, tuple[str | None, Edit]]:
        try:
            digest, _, text = (self._root / INDEX_FILE).read_bytes().partition(b"\n")
        except OSError:
            return {}
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return {}
        content = json.loads(text)
        if content["version"] != VERSION:
            return {}
        self._on_disk = {key: state for key, (state, *_) in content["edits"].items()}
        return {
            key: (state, Edit(self._root / key, record, metrics))
            for key, (state, record, metrics) in content["edits"].items()
        }


def in_short(record: dict[str, Any]) -> dict[str, Any]:
    """What an `Index` keeps of a record, which may be that of a damaged edit."""
    short = {key: record[key] for key in IN_SHORT if key in record}
    short |= {key: {"message": record[key]["message"]} for key in ("error", "remake") if record.get(key)}
    model = (record.get("config") or {}).get("model")
    if isinstance(model, dict):
        short["config"] = {"model": {key: model[key] for key in WEIGHTS if key in model}}
    return short
