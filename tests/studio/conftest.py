"""A studio for each module, and a drag to send it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from studio_helpers import in_base64, make_studio, picture, png


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[Any]:
    with make_studio(tmp_path_factory.mktemp("studio")) as client:
        yield client


@pytest.fixture
def drag_of() -> Callable[..., dict[str, Any]]:
    """A drag for a client, on an uploaded picture of 96 × 64 pixels, with a mask and one handle."""

    def make(client: Any, **changes: Any) -> dict[str, Any]:
        mask = np.zeros((64, 96), np.uint8)
        mask[8:56, 16:80] = 255
        kept = client.post("/api/pictures", content=png(picture())).json()
        return {
            "name": "square",
            "prompt": "noise",
            "picture": kept["picture"],
            "pairs": [[[30, 30], [50, 34]]],
            "mask": in_base64(png(mask)),
        } | changes

    return make


@pytest.fixture
def drag(client, drag_of) -> Callable[..., dict[str, Any]]:
    """The same for the module's client."""
    return partial(drag_of, client)
