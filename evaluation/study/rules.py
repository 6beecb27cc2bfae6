"""Whose answers do not count, and why."""

from __future__ import annotations

from dataclasses import dataclass

from rotationbench.settings import check_between


@dataclass
class Rules:
    """When a participant's answers are left out.

    Args:
        failed_checks: checks that may be failed.
        min_seconds: the median time per answer that is needed to have looked.

    Raises:
        ConfigError: when a value is out of its range.
    """

    failed_checks: int = 0
    min_seconds: float = 1.5

    def __post_init__(self) -> None:
        check_between(self, 0, 20, "failed_checks", section="study")
        check_between(self, 0, 3600, "min_seconds", section="study")

    def reasons(self, failed_checks: int, median_seconds: float | None) -> list[str]:
        """Why a participant is left out; empty when nothing speaks against their answers.

        Args:
            failed_checks: how many checks they failed.
            median_seconds: their median time per answer; None before the first answer.

        >>> Rules().reasons(1, 0.8)
        ['failed 1 check, 0 are allowed', 'answered in 0.8 s (median), 1.5 s are needed']
        """
        found = []
        if failed_checks > self.failed_checks:
            noun = "check" if failed_checks == 1 else "checks"
            found.append(f"failed {failed_checks} {noun}, {self.failed_checks} are allowed")
        if median_seconds is not None and median_seconds < self.min_seconds:
            found.append(f"answered in {median_seconds:.1f} s (median), {self.min_seconds:g} s are needed")
        return found
