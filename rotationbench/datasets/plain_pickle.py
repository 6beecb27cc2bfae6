"""Reading pickles of plain data without unpickling: containers, texts, numbers and numeric arrays, nothing else.

The stream is interpreted here, one opcode at a time, into Python containers. What a stream names is never imported or
called, numpy is only given dtypes and shapes that fit the bytes, and how much a stream may make of few bytes is bounded
before anything is built.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.datasets.reading import Problems, described, read_bytes
from rotationbench.names import printable

LARGEST_PICKLE_BYTES = 64 * 2**20
MOST_OPCODES = 200_000
MOST_VALUES = 1_000_000
"""Values that the content would hold if nothing in it were shared."""
DEEPEST = 32
LONGEST_NUMBER_BITS = 64
PLAIN_TYPES = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
NUMPY_STATE = 3
STEPS = {
    "nothing": ("PROTO", "FRAME"),
    "none": ("NONE",),
    "true": ("NEWTRUE",),
    "false": ("NEWFALSE",),
    "number": ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    "text": (
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ),
    "put": ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
    "get": ("GET", "BINGET", "LONG_BINGET"),
    "global": ("GLOBAL",),
    "stack_global": ("STACK_GLOBAL",),
    "reference": ("PERSID", "BINPERSID"),
    "mark": ("MARK",),
    "pop": ("POP",),
    "pop_mark": ("POP_MARK",),
    "dup": ("DUP",),
    "empty_tuple": ("EMPTY_TUPLE",),
    "empty_list": ("EMPTY_LIST", "EMPTY_SET"),
    "empty_dict": ("EMPTY_DICT",),
    "tuple": ("TUPLE",),
    "tuple1": ("TUPLE1",),
    "tuple2": ("TUPLE2",),
    "tuple3": ("TUPLE3",),
    "list": ("LIST", "FROZENSET"),
    "dict": ("DICT",),
    "append": ("APPEND",),
    "appends": ("APPENDS", "ADDITEMS"),
    "setitem": ("SETITEM",),
    "setitems": ("SETITEMS",),
    "reduce": ("REDUCE",),
    "build": ("BUILD",),
}
"""What the machine does, and the opcodes that make it do so."""


class RefusedPickleError(Exception):
    """A pickle holds something other than plain data, or more of it than its size allows."""


def read_plain_pickle(path: Path, problems: Problems) -> Any:
    """What the pickle at `path` holds, as long as that is plain containers, strings, numbers and numeric numpy arrays.

    Returns:
        The content, or None after noting in `problems` what else the file names or why it cannot be read. That a file
        holds nothing but None is a problem too.
    """
    content = read_bytes(path, problems, largest=LARGEST_PICKLE_BYTES)
    if content is None:
        return None
    try:
        loaded = load_plain(content)
    except RefusedPickleError as error:
        problems.expected(path, "only containers, strings, numbers and numpy arrays", f"{error}; nothing of it was run")
    except Exception as error:
        # A damaged stream fails wherever it happens to make no sense.
        problems.expected(path, "a whole pickle", printable(f"{type(error).__name__}: {error}"[:200]))
    else:
        if loaded is None:
            problems.expected(path, "a pickle with content", "None")
        return loaded
    return None


def load_plain(content: bytes) -> Any:
    """What a pickle of plain data holds.

    Raises:
        RefusedPickleError: when it names anything but numeric numpy arrays, or holds too much.
        Exception: of any kind, when it is damaged.
    """
    return _Machine().run(content)


class _Mark:
    """Where the items of a container begin on the stack."""


class _Name:
    """Stands for one of the callables that numpy's pickles name, with what its call makes."""

    def __init__(self, call: Callable[..., Any] | None) -> None:
        self.call = call


class _Type:
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


class _Array:
    """Stands for an array until its shape, type and bytes are known and fit each other."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not _ARRAY or shape != (0,) or code not in (b"b", "b"):
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
    if not isinstance(buffer, (bytes, bytearray)) or not isinstance(kind, _Type):
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


_ARRAY = _Name(None)
_NAMES = {
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": _Name(_Type),
    "numpy.core.multiarray._reconstruct": _Name(_Array),
    "numpy.core.multiarray.scalar": _Name(_scalar),
    "numpy.core.numeric._frombuffer": _Name(_filled),
    "_codecs.encode": _Name(_encoded),
    "__builtin__.bytes": _Name(_no_bytes),
    "builtins.bytes": _Name(_no_bytes),
}


class _Machine:
    """The pickle machine for plain data. Sets become lists, because nothing here asks for members."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """Interpret the whole stream and return what it leaves."""
        steps: dict[str, Callable[[Any], None]] = {
            name: getattr(self, f"_{step}") for step, names in STEPS.items() for name in names
        }
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count >= MOST_OPCODES:
                raise RefusedPickleError(f"more than {MOST_OPCODES} opcodes")
            if opcode.name == "STOP":
                break
            if opcode.name not in steps:
                raise RefusedPickleError(f"the opcode {opcode.name}")
            steps[opcode.name](argument)
        return _Finished().of(self.stack.pop())

    def _nothing(self, argument: Any) -> None:
        """Versions and frames say nothing about the content."""

    def _none(self, argument: Any) -> None:
        self.stack.append(None)

    def _true(self, argument: Any) -> None:
        self.stack.append(True)

    def _false(self, argument: Any) -> None:
        self.stack.append(False)

    def _number(self, argument: Any) -> None:
        if isinstance(argument, int) and argument.bit_length() > LONGEST_NUMBER_BITS:
            raise RefusedPickleError(f"a number of {argument.bit_length()} bits")
        self.stack.append(argument)

    def _text(self, argument: Any) -> None:
        self.stack.append(argument)

    def _put(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    def _global(self, argument: Any) -> None:
        self.stack.append(_named(*argument.split(" ", 1)))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))

    def _reference(self, argument: Any) -> None:
        raise RefusedPickleError(f"a persistent reference {described(argument or self.stack[-1])}")

    def _items(self) -> list[Any]:
        """What lies above the last mark; both are taken off the stack."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _Mark:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise IndexError("no mark on the stack")

    def _mark(self, argument: Any) -> None:
        self.stack.append(_Mark)

    def _pop(self, argument: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, argument: Any) -> None:
        self._items()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _empty_tuple(self, argument: Any) -> None:
        self.stack.append(())

    def _empty_list(self, argument: Any) -> None:
        self.stack.append([])

    def _empty_dict(self, argument: Any) -> None:
        self.stack.append({})

    def _tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self._items()))

    def _list(self, argument: Any) -> None:
        self.stack.append(self._items())

    def _dict(self, argument: Any) -> None:
        items = self._items()
        self.stack.append({})
        self._fill(items)

    def _tuple1(self, argument: Any) -> None:
        self._tuple_of(1)

    def _tuple2(self, argument: Any) -> None:
        self._tuple_of(2)

    def _tuple3(self, argument: Any) -> None:
        self._tuple_of(3)

    def _tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError("too little on the stack")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def _append(self, argument: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, argument: Any) -> None:
        self._extend(self._items())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise RefusedPickleError("items of something that is no list")
        self.stack[-1].extend(items)

    def _setitem(self, argument: Any) -> None:
        value = self.stack.pop()
        self._fill([self.stack.pop(), value])

    def _setitems(self, argument: Any) -> None:
        self._fill(self._items())

    def _fill(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict) or len(items) % 2:
            raise RefusedPickleError("items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Only keys whose hash takes no walk through what they hold.
            if not isinstance(key, (str, bytes, int, float)):
                raise RefusedPickleError(f"a {type(key).__name__} as the key of a dict")
            self.stack[-1][key] = value

    def _reduce(self, argument: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.call is None or not isinstance(arguments, tuple):
            raise RefusedPickleError(f"a call of {described(function)}")
        self.stack.append(function.call(*arguments))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Type, _Array)):
            raise RefusedPickleError(f"a state of {described(self.stack[-1])}")
        self.stack[-1].build(state)


def _named(module: Any, name: Any) -> _Name:
    full = f"{module}.{name}"
    stand_in = _NAMES.get(full.replace("numpy._core.", "numpy.core."))
    if stand_in is None:
        raise RefusedPickleError(f"the name {printable(full[:200])}")
    return stand_in


class _Finished:
    """The content with arrays in place of their stand-ins; what is shared stays shared."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[Any, int, int]] = {}

    def of(self, value: Any) -> Any:
        """The finished `value`.

        Raises:
            RefusedPickleError: when it is nested too deeply, holds itself, is too large with all that is shared
                counted as often as it is used, or is a stand-in that stands for no value.
        """
        if not isinstance(value, (list, tuple, dict)):
            return self._leaf(value)
        finished, _, size = self._container(value, 0)
        if size > MOST_VALUES:
            raise RefusedPickleError(f"more than {MOST_VALUES} values")
        return finished

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, _Array) and value.array is not None:
            return value.array
        if isinstance(value, (_Name, _Type, _Array)) or value is _Mark:
            raise RefusedPickleError(f"a part of an array in place of a value, {type(value).__name__}")
        return value

    def _container(self, value: Any, depth: int) -> tuple[Any, int, int]:
        """The finished container, its height and its size."""
        known = self.known.get(id(value))
        if depth + (known[1] if known else 0) >= DEEPEST:
            raise RefusedPickleError(f"containers nested more than {DEEPEST} deep")
        if known is not None:
            return known
        finished, height, size = [], 1, 1
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, (list, tuple, dict)):
                done, its_height, its_size = self._container(part, depth + 1)
                height, size = max(height, its_height + 1), size + its_size
            else:
                done = self._leaf(part)
                size += 1
            finished.append(done)
        made = dict(zip(value, finished, strict=True)) if isinstance(value, dict) else type(value)(finished)
        self.known[id(value)] = made, height, size
        return self.known[id(value)]
