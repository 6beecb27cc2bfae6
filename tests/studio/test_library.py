from __future__ import annotations

import pytest
from studio_helpers import make_studio

from rotationbench.errors import ConfigError


def test_a_folder_that_is_absent_is_refused_by_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"studio\.data.*nothing"):
        make_studio(tmp_path, f"studio.data=[{tmp_path / 'absent'}]")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"studio\.samples.*a file"):
        make_studio(tmp_path, f"studio.samples={tmp_path / 'file'}")
