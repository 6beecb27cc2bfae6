"""Where the project's own settings and data lie: beside the packages in a checkout, inside this one in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def project_root() -> Path:
    """The folder that holds `conf/` and `data/`."""
    return PACKAGE if (PACKAGE / "conf").is_dir() else PACKAGE.parent
