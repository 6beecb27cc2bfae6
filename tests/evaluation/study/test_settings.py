from __future__ import annotations

import pytest

from evaluation.study.settings import StudySettings
from rotationbench.errors import ConfigError


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"question": "worst"}, "study.question: expected best or pairs or rank"),
        ({"labels": ["a"]}, "study.labels: expected 2 to 8 labels, got 1"),
        ({"labels": ["a", "a"]}, "study.labels: expected different labels"),
        ({"participants": 0}, "study.participants"),
        ({"repeats": 0.6}, "study.repeats"),
        ({"picture_quality": 0}, "study.picture_quality"),
        ({"public_url": "ftp://x"}, "study.public_url"),
        ({"min_seconds": -1.0}, "study.min_seconds"),
    ],
)
def test_settings_out_of_range_are_one_line(setting, message):
    with pytest.raises(ConfigError, match=message):
        StudySettings(**setting)
