"""Reading pickles of plain data without unpickling: containers, texts, numbers and numeric arrays, nothing else.

The stream is interpreted here, one opcode at a time, into Python containers. What a stream names is never imported or
called, numpy is only given dtypes and shapes that fit the bytes, and how much a stream may make of few bytes is bounded
before anything is built.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rotationbench.datasets.pickled_arrays import Callee, PickledArray, PickledType, RefusedPickleError, stand_in_for
from rotationbench.datasets.reading import Problems, described, read_bytes
from rotationbench.names import printable

LARGEST_PICKLE_BYTES = 64 * 2**20
MOST_OPCODES = 200_000
MOST_VALUES = 1_000_000
"""Values that the content would hold if nothing in it were shared."""
DEEPEST = 32
LONGEST_NUMBER_BITS = 64
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
        self.stack.append(stand_in_for(*argument.split(" ", 1)))

    def _stack_global(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(stand_in_for(module, name))

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
        if not isinstance(function, Callee) or function.call is None or not isinstance(arguments, tuple):
            raise RefusedPickleError(f"a call of {described(function)}")
        self.stack.append(function.call(*arguments))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (PickledType, PickledArray)):
            raise RefusedPickleError(f"a state of {described(self.stack[-1])}")
        self.stack[-1].build(state)


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
        if isinstance(value, PickledArray) and value.array is not None:
            return value.array
        if isinstance(value, (Callee, PickledType, PickledArray)) or value is _Mark:
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
