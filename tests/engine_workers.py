"""Workers for the tests of engines: they need no model, and can be made where this module can be imported."""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial
from typing import Any

from rotationbench.errors import CheckpointError


class Doubler:
    """Doubles numbers; `"poison"` kills its process, `"slow"` takes a while, an exception is raised."""

    def __init__(self, kind: str, *, remote: bool) -> None:
        self.kind, self.remote = kind, remote

    def prepare(self) -> str:
        logging.getLogger("rotationbench.test").warning("made")
        if self.kind == "broken":
            raise CheckpointError("there is no such checkpoint")
        return self.kind

    def pid(self) -> int:
        return os.getpid()

    def __call__(self, item: Any) -> Any:
        if isinstance(item, Exception):
            raise item
        if item == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "slow":
            time.sleep(60)
        logging.getLogger("rotationbench.test").warning("item %s", item)
        return 2 * item


def doubler(kind: str = "good") -> partial[Doubler]:
    return partial(Doubler, kind)
