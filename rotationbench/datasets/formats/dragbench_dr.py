"""DragBench-DR, the benchmark of DragDiffusion: a pickle beside each picture, in folders by category."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rotationbench.datasets.formats.base import Entry, folders_with
from rotationbench.datasets.reading import (
    LARGEST_TEXT_BYTES,
    MISSING,
    Problems,
    check_pairs,
    check_size,
    described,
    first_picture,
    points_of,
    read_picture,
    split_pairs,
    text_of,
)
from rotationbench.sample import DragSample, SampleMeta

PICKLE = "meta_data.pkl"


class DragBenchDR:
    """`original_image.png` and `meta_data.pkl` with `prompt`, `points` (alternating) and `mask` (above 0: may change).

    Source: Shi et al., DragDiffusion, arXiv 2306.14435, section 4.
    """

    name = "dragbench_dr"
    signature = f"folders with {PICKLE} and original_image.png"

    def find(self, root: Path, problems: Problems) -> list[Entry]:
        """Folders with a `meta_data.pkl`."""
        return folders_with(root, (PICKLE,))

    def split_of(self, entry: Entry, problems: Problems) -> str | None:
        """None: the format has no splits."""
        return None

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; nothing in its pickle is run."""
        before = len(problems)
        image = read_picture(first_picture(entry.path, "original_image"), problems)
        size = None if image is None else image.shape[:2]
        path = entry.path / PICKLE
        content = read_plain_pickle(path, problems)
        pairs, prompt, mask = None, "", None
        if content is not None and not isinstance(content, dict):
            problems.expected(path, "a dict with prompt, points and mask", described(content))
        elif content is not None:
            points = points_of(content.get("points", MISSING), "points", path, problems)
            pairs = split_pairs(points, "points", path, problems)
            check_pairs(pairs, size, path, problems)
            prompt = text_of(content.get("prompt", MISSING), "prompt", path, problems)
            mask = _mask(content.get("mask"), path, problems)
            check_size(path, mask, size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=SampleMeta(category=entry.category))


def _mask(value: Any, path: Path, problems: Problems) -> np.ndarray | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.ndim not in (2, 3) or value.dtype.kind not in "buif":
        problems.expected(path, 'a numeric array (H, W) as "mask"', _described_array(value))
        return None
    return (value if value.ndim == 2 else value[..., 0]) > 0


def _described_array(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else described(value)


def read_plain_pickle(path: Path, problems: Problems) -> Any:
    """What the pickle at `path` holds, as long as that is plain containers, strings, numbers and numpy arrays.

    Returns:
        The content, or None after noting in `problems` what else the file names or why it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT_BYTES:
            problems.expected(path, f"at most {LARGEST_TEXT_BYTES} bytes", f"{size}")
            return None
        return PlainUnpickler(path.read_bytes()).load()
    except RefusedPickleError as error:
        problems.expected(path, "only containers, strings, numbers and numpy arrays", f"{error}; nothing of it was run")
    except FileNotFoundError:
        problems.note(path, "expected a pickle, found no file.")
    except Exception as error:
        problems.expected(path, "a whole pickle", f"{type(error).__name__}: {error}")
    return None


class RefusedPickleError(pickle.UnpicklingError):
    """A pickle names something other than plain data."""


class PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows numpy arrays and refuses every other name before anything of it is imported or called.

    The callables that a numpy pickle names are replaced by checked versions, because numpy's own accept arguments that
    a data file never has.

    Args:
        content: the bytes of the pickle.

    Raises:
        RefusedPickleError: on loading, when the pickle names anything but numpy arrays.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`."""
        stand_in = _STAND_INS.get((module.replace("numpy._core.", "numpy.core."), name))
        if stand_in is None:
            raise RefusedPickleError(f"the name {module}.{name}")
        return stand_in

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to objects outside the file."""
        raise RefusedPickleError(f"a persistent reference {pid!r:.60}")


class _ArrayType:
    """Stands for `numpy.ndarray`, so that the type itself cannot be called."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not _ARRAY or shape != (0,) or code not in (b"b", "b"):
        raise RefusedPickleError(f"an array of type {kind!r:.40} and shape {shape!r:.40}")
    return np.ndarray((0,), "b")


def _dtype(code: Any, align: Any = False, copy: Any = False) -> np.dtype:
    if not isinstance(code, str) or np.dtype(code).kind not in "buifU":
        raise RefusedPickleError(f"an array of dtype {code!r:.40}")
    return np.dtype(code)


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, axis_order: Any = None) -> np.ndarray:
    if axis_order is not None or order not in ("C", "F"):
        raise RefusedPickleError(f"an array of order {order!r:.40}")
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: Any, content: bytes) -> Any:
    return np.frombuffer(content, dtype=dtype, count=1)[0]


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise RefusedPickleError(f"an encoding {encoding!r:.40}")
    return text.encode("latin1")


_ARRAY = _ArrayType()
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
