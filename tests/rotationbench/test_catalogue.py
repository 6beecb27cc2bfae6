from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from rotationbench.catalogue import description, show
from rotationbench.config import project_root
from rotationbench.errors import ConfigError

CONF = project_root() / "conf"


@pytest.mark.parametrize("file", sorted(CONF.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_file_of_settings_says_what_it_is(file):
    said = description(file)
    assert said and not said.startswith("@")
    # Comments of single settings describe those.
    assert OmegaConf.load(file) is not None


def test_a_section_that_there_is_not_is_named():
    with pytest.raises(ConfigError, match=r"list: expected names among data, .*metrics, got nothing"):
        show(["nothing"], print)
