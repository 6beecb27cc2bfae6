"""A study in its database."""

from __future__ import annotations

import pytest
from studies import make_study


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("results"))
