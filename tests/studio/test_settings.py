from __future__ import annotations

import pytest

from rotationbench.errors import ConfigError
from studio.settings import StudioSettings


def test_only_the_loopback_goes_without_a_token():
    assert StudioSettings().needed_token() is None
    assert StudioSettings(host="::1").needed_token() is None
    made_up = StudioSettings(host="0.0.0.0").needed_token()
    assert made_up is not None and len(made_up) >= 32
    assert made_up != StudioSettings(host="0.0.0.0").needed_token()
    assert StudioSettings(host="192.0.2.1", token="given-by-hand").needed_token() == "given-by-hand"


@pytest.mark.parametrize("settings", [{"token": "short"}, {"port": 70_000}, {"host": ""}, {"most_pixels": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="studio"):
        StudioSettings(**settings)
