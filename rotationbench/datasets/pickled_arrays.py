"""Stand-ins for what numpy's pickles name, so that no type or function of numpy's reaches a stream of pickled data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from rotationbench.datasets.reading import described
from rotationbench.names import printable

PLAIN_TYPES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
NUMPY_STATE = 3


class RefusedPickleError(Exception):
    """A pickle holds something other than plain data, or more of it than its size allows."""


class Callee:
    """Stands for one of the callables that numpy's pickles name, with what its call makes."""

    def __init__(self, call: Callable[..., Any] | None) -> None:
        self.call = call


class PickledType:
    """Stands for a dtype: its code, and the byte order once its state is known."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not PLAIN_TYPES.fullmatch(code):
            raise RefusedPickleError(f"an array of dtype {described(code)}")
        self.code, self.built = code, False

    def build(self, state: Any) -> None:
        """Take the byte order from a dtype's state; a dtype with fields or metadata is refused."""
        plain = isinstance(state, tuple) and len(state) == 8 and state[0] == NUMPY_STATE and state[1] in ("<", ">", "|")
        if self.built or not plain or state[2:5] != (None, None, None):
            raise RefusedPickleError(f"an array of dtype {self.code} with the state {described(state)}")
        if state[1] != "|":
            self.code = state[1] + self.code.lstrip("<>|=")
        self.built = True


class PickledArray:
    """Stands for an array until its shape, type and bytes are known and fit each other."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not _NDARRAY or shape != (0,) or code not in (b"b", "b"):
            raise RefusedPickleError(f"an array of type {described(kind)} and shape {described(shape)}")
        self.array: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """Make the array from an array's state, once."""
        if self.array is not None or not isinstance(state, tuple) or len(state) != 5:
            raise RefusedPickleError(f"an array with the state {described(state)}")
        _, shape, kind, fortran, buffer = state
        self.array = _filled(buffer, kind, shape, "F" if fortran else "C")


def _filled(buffer: Any, kind: Any, shape: Any, order: Any, axis_order: Any = None) -> np.ndarray:
    if isinstance(buffer, str):
        buffer = buffer.encode("latin1")
    if not isinstance(buffer, (bytes, bytearray)) or not isinstance(kind, PickledType):
        raise RefusedPickleError(f"an array of {described(buffer)}")
    plain = (
        isinstance(shape, tuple) and len(shape) <= 4 and all(type(side) is int and 0 <= side < 2**31 for side in shape)
    )
    if not plain or order not in ("C", "F") or axis_order is not None:
        raise RefusedPickleError(f"an array of shape {described(shape)} and order {described(order)}")
    dtype = np.dtype(kind.code)
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise RefusedPickleError(f"an array of shape {shape} and dtype {kind.code} in {len(buffer)} bytes")
    # A copy of one byte order that nothing else in the stream refers to.
    return np.frombuffer(bytes(buffer), dtype).reshape(shape, order=order).astype(dtype.newbyteorder("="))


def _scalar(kind: Any, buffer: Any) -> Any:
    return _filled(buffer, kind, (), "C").item()


def _encoded(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedPickleError(f"an encoding {described(encoding)}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Old protocols call `bytes` for what is empty."""
    return b""


_NDARRAY = Callee(None)
_NAMES = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": Callee(PickledType),
    "numpy.core.multiarray._reconstruct": Callee(PickledArray),
    "numpy.core.multiarray.scalar": Callee(_scalar),
    "numpy.core.numeric._frombuffer": Callee(_filled),
    "_codecs.encode": Callee(_encoded),
    "__builtin__.bytes": Callee(_no_bytes),
    "builtins.bytes": Callee(_no_bytes),
}


def stand_in_for(module: Any, name: Any) -> Callee:
    """What stands for `module.name` in a stream.

    Raises:
        RefusedPickleError: when it is nothing that a pickle of a numeric array names.
    """
    full = f"{module}.{name}"
    stand_in = _NAMES.get(full.replace("numpy._core.", "numpy.core."))
    if stand_in is None:
        raise RefusedPickleError(f"the name {printable(full[:200])}")
    return stand_in
