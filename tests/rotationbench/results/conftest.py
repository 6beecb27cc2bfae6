"""A results folder that an older version wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

OLD = Path(__file__).parent / "schema1"


@pytest.fixture
def old(tmp_path) -> Path:
    """A results folder of schema 1: two labels, a second seed, a failed edit."""
    return shutil.copytree(OLD, tmp_path / "results", ignore=shutil.ignore_patterns("*.csv"))
