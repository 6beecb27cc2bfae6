"""The command line: compose the configuration and hand it to the task it names.

rotationbench method=rotationdrag
rotationbench -m method=dragdiffusion,rotationdrag
rotationbench task=evaluate results_dir=results
rotationbench list
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

    from omegaconf import DictConfig

LIST = "list"
MISUSED = 2
BY_SIGNAL = 128
SECTIONS = ("task", "method", "evaluator")
"""Settings whose `_target_` names what runs."""

stopped_by = signal.SIGINT


def main() -> int:
    """Do what the arguments of the process ask for; returns the exit status.

    A signal that asks the process to end is answered with one line, from the start on.
    """
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, _stop)
    try:
        return _command(sys.argv[1:])
    except KeyboardInterrupt:
        print("Interrupted. What was finished is kept; the same command goes on from here.", file=sys.stderr)
        return BY_SIGNAL + stopped_by


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End the run as Ctrl-C does, whichever signal asks for it."""
    global stopped_by  # noqa: PLW0603 - a signal handler has nowhere else to leave a note
    stopped_by = signal.Signals(number)
    raise KeyboardInterrupt


def _command(arguments: Sequence[str]) -> int:
    # Everything is imported where it is needed: a signal is answered in the same way while that takes its seconds, and
    # what needs no seconds does not wait.
    if arguments in (["--help"], ["-h"]):
        from rotationbench.help import help_text  # noqa: PLC0415
        from rotationbench.plugins import conf_folders  # noqa: PLC0415

        print(help_text(list(conf_folders())), end="")
        return 0
    if arguments and arguments[0] == LIST:
        return _list(arguments[1:])
    return _jobs(arguments)


def _list(sections: Sequence[str]) -> int:
    """Print what there is to choose from."""
    from rotationbench.catalogue import show  # noqa: PLC0415
    from rotationbench.errors import ConfigError  # noqa: PLC0415

    try:
        show(sections, partial(print, flush=True))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISUSED
    return 0


def _jobs(arguments: Sequence[str]) -> int:
    """Run the task, or each job of a sweep; returns the worst exit status.

    In a sweep a job that cannot be composed, or that failed, does not end the others.
    """
    import hydra  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415

    from rotationbench.errors import one_line  # noqa: PLC0415
    from rotationbench.paths import project_root  # noqa: PLC0415
    from rotationbench.plugins import add_to_hydra  # noqa: PLC0415

    conf = project_root() / "conf"
    statuses: list[int] = []
    composing = True

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="config")
    def job(config: DictConfig) -> None:
        nonlocal composing
        composing = False
        statuses.append(run_task(config))
        composing = True

    def run(arguments: Sequence[str]) -> None:
        sys.argv[1:] = arguments
        try:
            for setting in arguments:
                refuse_null(setting, conf)
            job()
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if not composing:
                raise
            parts = [] if statuses else jobs_of_sweep(arguments)
            if len(parts) < 2:
                print(one_line(error), file=sys.stderr)
                statuses.append(MISUSED)
            # Hydra composes all jobs before it runs any, and one that it cannot compose ends the sweep.
            for part in parts if len(parts) > 1 else ():
                run(part)

    # Hydra would print what goes wrong in a way of its own, which differs from error to error.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    add_to_hydra()
    try:
        run(_arguments_for_hydra(arguments))
    except HydraException as error:
        print(one_line(error), file=sys.stderr)
        statuses.append(MISUSED)
    return max(statuses, default=0)


def refuse_null(setting: str, conf: Path) -> None:
    """See that a setting that chooses a file of `conf` names one.

    Raises:
        ValueError: when its value is null; Hydra's own message leaves out which setting it is about.

    >>> from rotationbench.paths import project_root
    >>> refuse_null("data=null", project_root() / "conf")
    Traceback (most recent call last):
    ValueError: data: expected folder, hpatches, photos or rotationbench, got null.
    """
    key, _, value = setting.partition("=")
    if value.strip().lower() == "null" and key and (conf / key).is_dir():
        *names, last = sorted(file.stem for file in (conf / key).glob("*.yaml"))
        raise ValueError(f"{key}: expected {', '.join(names)} or {last}, got null.")


def jobs_of_sweep(arguments: Sequence[str]) -> list[list[str]]:
    """The arguments of each job of a sweep, as sweeps of one job each; none when they ask for no sweep.

    >>> jobs_of_sweep(["-m", "method=turn,nothing", "seed=1"])
    [['-m', 'method=turn', 'seed=1'], ['-m', 'method=nothing', 'seed=1']]
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: PLC0415
    from hydra._internal.utils import get_args_parser  # noqa: PLC0415
    from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415

    given = get_args_parser().parse_args(list(arguments))
    if not given.multirun:
        return []
    flags = arguments[: len(arguments) - len(given.overrides)]
    try:
        (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(given.overrides), None)
    except HydraException:
        return []
    return [[*flags, *job] for job in jobs]


def run_task(config: DictConfig) -> int:
    """Run the task that a composed configuration names, with messages on the terminal; returns the exit status.

    What a user can act on is one line and the status 2.
    """
    import logging  # noqa: PLC0415

    from hydra.utils import get_method  # noqa: PLC0415
    from omegaconf import OmegaConf  # noqa: PLC0415
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    from rotationbench.errors import RotationBenchError  # noqa: PLC0415
    from rotationbench.files import FULL  # noqa: PLC0415

    # Libraries would show a bar for every model that they load.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    log = logging.getLogger("rotationbench")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    targets = [OmegaConf.select(config, f"{section}._target_") for section in SECTIONS]
    for package in {"rotationbench", *(str(target).partition(".")[0] for target in targets if target)}:
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        task = get_method(config.task._target_)
        with logging_redirect_tqdm():
            return task(config)
    except RotationBenchError as error:
        log.error("%s", error)
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.error("%s: the disk is full (%s); what was finished is kept.", error.filename, error.strerror)
    return MISUSED


def _arguments_for_hydra(arguments: Sequence[str]) -> list[str]:
    from hydra._internal.utils import get_args_parser  # noqa: PLC0415

    from rotationbench.labels import overrides_of_sweep  # noqa: PLC0415

    ordered = flags_first(arguments)
    parsed = get_args_parser().parse_args(ordered)
    return [*ordered, *overrides_of_sweep(parsed.overrides)] if parsed.multirun else ordered


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with all flags in front of all settings, as Hydra's parser wants them.

    Raises:
        SystemExit: for a flag that there is not, with a message on the terminal.

    >>> flags_first(["method=turn", "--config-dir", "mine", "-m", "seed=0,1"])
    ['--config-dir', 'mine', '-m', 'method=turn', 'seed=0,1']
    """
    from hydra._internal.utils import get_args_parser  # noqa: PLC0415

    settings = get_args_parser().parse_intermixed_args(list(arguments)).overrides
    flags, left = [], list(settings)
    for argument in arguments:
        # Which of two equal arguments is the setting makes no difference.
        if left and argument == left[0]:
            left.pop(0)
        else:
            flags.append(argument)
    return [*flags, *settings]
