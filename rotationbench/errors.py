"""Errors that a user can act on: each message names the file or key, what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence


def one_line(error: BaseException) -> str:
    r"""The message of an error, its lines joined; the error's kind where there is none.

    >>> one_line(ValueError("expected a number,\n    got none"))
    'expected a number, got none'
    """
    return " ".join(str(error).split()) or type(error).__name__


class RotationBenchError(Exception):
    """Base of every error that stems from the user's input and not from a defect of the program."""


class ConfigError(RotationBenchError):
    """A setting has an unknown name, a wrong type or a value outside its range."""


class LabelError(ConfigError):
    """Edits of other settings are filed under the same label."""


class CheckpointError(RotationBenchError):
    """A checkpoint is missing, incomplete, or not of the Stable Diffusion layout."""


class NonFiniteError(RotationBenchError):
    """A computation left the finite numbers: by the checkpoint, a setting, or a number type that is too small."""


class MissingWeightsError(RotationBenchError):
    """Weights that an optional part needs are not at hand; the message holds the command that fetches them."""


class ResultsError(RotationBenchError):
    """A results folder cannot be read or written: another kind of file is in its place, it is read-only, or full."""


class EditCancelledError(RotationBenchError):
    """An edit was ended by the one who asked for it, while it was being made."""


class EngineError(RotationBenchError):
    """Work cannot be done where it was to be done: no worker can be had, or workers that differ from each other."""


class DatasetError(RotationBenchError):
    """One or more samples of a data set cannot be used.

    Args:
        problems: one sentence per problem, each beginning with the path of the file it concerns.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        listing = "\n".join(f"  - {problem}" for problem in self.problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__(f"{len(self.problems)} {noun} in the data:\n{listing}")

    def __reduce__(self) -> tuple[type[DatasetError], tuple[tuple[str, ...]]]:
        # An exception is rebuilt from its message otherwise, when it comes back from another process.
        return type(self), (self.problems,)
