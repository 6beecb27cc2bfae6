"""Sections that others add to a report."""

from __future__ import annotations

import pytest

from evaluation.report.sections import added_sections
from rotationbench.errors import ConfigError

STUDY = {"_target_": "evaluation.study.section.StudySection"}


def test_a_maker_that_cannot_be_built_is_named_with_the_reason():
    assert added_sections([STUDY], []) == []
    with pytest.raises(ConfigError, match=r"^report\.sections: .*unexpected keyword argument 'unknown'$"):
        added_sections([STUDY | {"unknown": 1}], [])
    with pytest.raises(ConfigError, match=r"^report\.sections: .*'evaluation\.nowhere"):
        added_sections([{"_target_": "evaluation.nowhere.Section"}], [])
