"""The command line: compose the configuration and hand it to the task it names.

python run.py method=rotationdrag
python run.py -m method=dragdiffusion,rotationdrag
python run.py task=evaluate results_dir=results
"""

import logging
import sys

import diffusers
import hydra
import transformers
from omegaconf import DictConfig
from tqdm.contrib.logging import logging_redirect_tqdm

from rotationbench.errors import RotationBenchError

log = logging.getLogger("rotationbench")

MISUSED = 2
INTERRUPTED = 130

statuses: list[int] = []


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run the configured task and note its exit status; in a sweep a job that failed does not end the others."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for package in ("rotationbench", "methods", "evaluation"):
        logging.getLogger(package).setLevel(logging.INFO)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        with logging_redirect_tqdm():
            statuses.append(hydra.utils.get_method(config.task._target_)(config))
    except RotationBenchError as error:
        log.error("%s", error)
        statuses.append(MISUSED)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
    sys.exit(max(statuses, default=0))
