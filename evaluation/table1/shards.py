"""Rows of pairs on disk: a file per feature and picture, whole or not at all, that knows what it was made from."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.table1.pairs import Protocol
from evaluation.table1.pictures import Picture
from rotationbench.files import whole_file

log = logging.getLogger(__name__)

VERSION = 2
"""Part of what decides whether results on disk are still valid: raise it when pairs or their evaluation change."""

ROWS, PAIRS, NOTE = b"fingerprint", b"pairs", b"note"

SCHEMA = pa.schema(
    [
        ("feature", pa.string()),
        ("picture", pa.string()),
        ("kind", pa.string()),
        ("repetition", pa.int32()),
        # The factor, the angle in degrees, the strength, or the shift in pixels; and where it points, in degrees.
        ("amount", pa.float64()),
        ("direction", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("keypoints_reference", pa.int32()),
        ("keypoints_warped", pa.int32()),
        ("matches", pa.int32()),
        ("inliers", pa.int32()),
        # Pixels; null without a homography.
        ("corner_error", pa.float64()),
        ("homography", pa.list_(pa.float64(), 9)),
        ("homography_true", pa.list_(pa.float64(), 9)),
    ]
)


@dataclass(frozen=True)
class Origin:
    """What rows were made from, kept beside them.

    Args:
        rows: SHA-256 of everything that decides them.
        pairs: SHA-256 of what decides their pairs: rows of several features belong in one table when these agree.
        note: the feature's remark for the reader of the table.
    """

    rows: str
    pairs: str
    note: str


@dataclass(frozen=True)
class Earlier:
    """A feature whose rows an earlier run has left: its shards in the order of the pictures, and its remark."""

    shards: list[Path]
    note: str


def pairs_fingerprint(protocol: Protocol, picture: Picture) -> str:
    """SHA-256 of what decides the pairs of a picture."""
    return digest_of({"version": VERSION, "protocol": asdict(protocol), "picture": [picture.name, picture.digest]})


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shard_path(folder: Path, picture: Picture) -> Path:
    """Where the rows of a picture are kept within the folder of a feature."""
    return folder / f"{picture.file_name}.parquet"


def write_shard(path: Path, rows: list[dict[str, Any]], origin: Origin) -> None:
    """Write rows of `SCHEMA`, whole or not at all."""
    metadata = {ROWS: origin.rows.encode(), PAIRS: origin.pairs.encode(), NOTE: origin.note.encode()}
    table = pa.Table.from_pylist(rows, SCHEMA.with_metadata(metadata))
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_shard(path: Path) -> tuple[pa.Table, Origin] | None:
    """Rows and what they were made from; None when there are none, or what is there is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, ValueError, pa.ArrowException):
        return None
    metadata = table.schema.metadata or {}
    if not table.schema.equals(SCHEMA) or not all(key in metadata for key in (ROWS, PAIRS, NOTE)):
        return None
    return table, Origin(*(metadata[key].decode(errors="replace") for key in (ROWS, PAIRS, NOTE)))


def rows_of(path: Path) -> pa.Table:
    """The rows of a shard that has been made.

    Raises:
        OSError: when it is not there any more, or damaged since.
    """
    read = read_shard(path)
    if read is None:
        raise OSError(errno.EIO, "expected the rows that were written there, got none", str(path))
    return read[0]


def earlier_features(
    folder: Path, pictures: list[Picture], protocol: Protocol, *, apart_from: Collection[str]
) -> dict[str, Earlier]:
    """Features whose rows an earlier run has left, of the same pairs of all pictures.

    Args:
        folder: holds a folder of shards per feature.
        pictures: the pictures of this run.
        protocol: how this run makes pairs.
        apart_from: features that are not looked for.
    """
    pairs = [pairs_fingerprint(protocol, picture) for picture in pictures]
    found = {}
    for own in sorted(path for path in folder.glob("*") if path.is_dir() and path.name not in apart_from):
        shards = [shard_path(own, picture) for picture in pictures]
        origins = [origin for shard in shards if (origin := _origin_of_rows(shard, own.name)) is not None]
        if [origin.pairs for origin in origins] == pairs:
            found[own.name] = Earlier(shards, origins[0].note)
        else:
            log.info("%s: its rows are of other pairs, or not of all, and are left out of the table.", own)
    return found


def merge(shards: Iterable[Path], path: Path) -> None:
    """Write the rows of many shards to one file, whole or not at all, one shard in memory at a time."""
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
        for shard in shards:
            writer.write_table(rows_of(shard).cast(SCHEMA))


def _origin_of_rows(shard: Path, feature: str) -> Origin | None:
    read = read_shard(shard)
    if read is None or set(read[0]["feature"].to_pylist()) != {feature}:
        return None
    return read[1]
