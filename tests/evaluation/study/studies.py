"""Studies for tests: made from synthetic results, once per session where nothing changes them."""

from __future__ import annotations

from pathlib import Path

from synthetic_results import write_results

from evaluation.study.database import Database
from evaluation.study.settings import StudyConfig, StudySettings, database_url
from evaluation.study.setup import open_study

LABELS = ["truth", "idle", "backwards"]


def settings_of(root: Path, **changes: object) -> StudyConfig:
    """Settings of a small study of the results in `root`."""
    chosen = {"labels": LABELS, "participants": 4, "questions": 4, "repeats": 0.25, "checks": 1, "min_seconds": 0.0}
    return StudyConfig(results_dir=str(root), study=StudySettings(**(chosen | changes)))


def make_study(root: Path, **changes: object) -> Database:
    """A study of synthetic results in `root`, which are made unless they are there."""
    if not (root / "samples").is_dir():
        write_results(root, samples=6, side=96)
    settings = settings_of(root, **changes)
    database = Database(database_url(settings.study.database, root))
    open_study(database, settings)
    return database
