"""The command line: compose the configuration and hand it to the task it names.

python run.py method=rotationdrag
python run.py -m method=dragdiffusion,rotationdrag
python run.py task=evaluate results_dir=results
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

MISUSED = 2
BY_SIGNAL = 128
WITH_PROGRESS_BARS = {"diffusers", "transformers"}
"""Libraries that show one for every model they load. Not every task needs them, and they take seconds to import."""

stopped_by = signal.SIGINT


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """End the run as Ctrl-C does, whichever signal asks for it."""
    global stopped_by  # noqa: PLW0603 - a signal handler has nowhere else to leave a note
    stopped_by = signal.Signals(number)
    raise KeyboardInterrupt


def command_line() -> int:
    """Run the task, or each job of a sweep; returns the worst exit status.

    In a sweep a job that failed does not end the others.
    """
    # Imported here, so that a signal is answered in the same way while they take their seconds.
    import logging  # noqa: PLC0415

    import hydra  # noqa: PLC0415
    from hydra.errors import HydraException, InstantiationException  # noqa: PLC0415
    from omegaconf import DictConfig  # noqa: PLC0415
    from omegaconf.errors import OmegaConfBaseException  # noqa: PLC0415
    from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

    from rotationbench.errors import RotationBenchError  # noqa: PLC0415

    log = logging.getLogger("rotationbench")
    statuses: list[int] = []
    composing = True

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def main(config: DictConfig) -> None:
        nonlocal composing
        composing = False
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        for package in ("rotationbench", "methods", "evaluation"):
            logging.getLogger(package).setLevel(logging.INFO)
        try:
            task = hydra.utils.get_method(config.task._target_)
            for name in WITH_PROGRESS_BARS & sys.modules.keys():
                sys.modules[name].utils.logging.disable_progress_bar()
            with logging_redirect_tqdm():
                statuses.append(task(config))
        except RotationBenchError as error:
            log.error("%s", error)
            statuses.append(MISUSED)
        except InstantiationException as error:
            # Hydra wraps what goes wrong while it builds an object; the reason is what a user can act on.
            reason = error.__cause__ or error
            place = "" if isinstance(reason, RotationBenchError) else "evaluator: "
            log.error("%s%s", place, one_line(reason))
            statuses.append(MISUSED)
        composing = True

    # Hydra would print what goes wrong in a way of its own, which differs from error to error.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        main()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if not composing:
            raise
        print(one_line(error), file=sys.stderr)
        statuses.append(MISUSED)
    return max(statuses, default=0)


def one_line(error: BaseException) -> str:
    """The message of an error, its lines joined."""
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, stop)
    try:
        status = command_line()
    except KeyboardInterrupt:
        print("Interrupted. What was finished is kept; the same command goes on from here.", file=sys.stderr)
        status = BY_SIGNAL + stopped_by
    sys.exit(status)
