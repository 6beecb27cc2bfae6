"""Kind 22: pickles are read without unpickling, whatever they hold; the corpus is in `pickles/`."""

import gc
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from format_layouts import half_mask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rotationbench.datasets.plain_pickle import MOST_OPCODES, RefusedPickleError, load_plain, read_plain_pickle
from rotationbench.datasets.reading import Problems

CORPUS = sorted((Path(__file__).parent / "pickles").glob("*.pkl"))
SEEDED = settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


leaves = st.none() | st.booleans() | numbers | st.text(max_size=20) | st.binary(max_size=20)


arrays = st.builds(
    lambda code, shape, seed: np.random.default_rng(seed).integers(0, 2, shape).astype(code),
    st.sampled_from(["u1", "i4", ">i4", "i8", "f4", ">f8", "?", "f2"]),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.integers(0, 9),
)


content = st.recursive(
    leaves | arrays,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(ours, theirs):
    if isinstance(theirs, np.ndarray):
        return ours.shape == theirs.shape and ours.dtype.kind == theirs.dtype.kind and (ours == theirs).all()
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, (list, tuple)):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    return type(ours) is type(theirs) and ours == theirs


@given(content, st.integers(0, pickle.HIGHEST_PROTOCOL))
@SEEDED
def test_plain_content_is_read_as_pickle_reads_it(value, protocol):
    assert same(load_plain(pickle.dumps(value, protocol)), value)


def walk(value):
    yield value
    if isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from walk(part)


SEEDS = [
    pickle.dumps({"prompt": "a", "points": [[1, 2], (3, 4)], "mask": np.eye(4, dtype=np.uint8)}, protocol)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
] + [path.read_bytes() for path in CORPUS]


edits = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["change", "cut", "insert", "double"]), st.binary(min_size=1, max_size=6)
    ),
    max_size=5,
)


def mutated(seed, changes):
    data = bytearray(seed)
    for place, kind, piece in changes:
        at = int(place * len(data))
        if kind == "change":
            data[at : at + len(piece)] = piece
        elif kind == "cut":
            del data[at : at + len(piece)]
        elif kind == "insert":
            data[at:at] = piece
        else:
            data[at:at] = data[at : at + 40]
    return bytes(data)


@given(st.sampled_from(SEEDS) | st.binary(max_size=200), edits)
@example(b"\x80\x04N.", [])
@example(b"(" * 1000 + b".", [])
@SEEDED
def test_kind_22_mutated_pickles_are_plain_data_or_refused(seed, changes):
    data = mutated(seed, changes)
    # What a test run of many examples leaves behind is not collected at the reader's expense.
    gc.disable()
    began = time.process_time()
    try:
        value = load_plain(data)
    except Exception:
        return
    finally:
        seconds = time.process_time() - began
        gc.enable()
        assert seconds < 1
    assert all(
        isinstance(part, (type(None), bool, int, float, str, bytes, bytearray, list, tuple, dict, np.ndarray))
        for part in walk(value)
    )


@pytest.mark.slow
@given(st.sampled_from(SEEDS), edits)
@settings(SEEDED, max_examples=20_000)
def test_kind_22_more_mutated_pickles(seed, changes):
    test_kind_22_mutated_pickles_are_plain_data_or_refused.hypothesis.inner_test(seed, changes)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_kind_22_bombs_are_refused_within_a_second_and_200_mb(path):
    """In a process of its own whose memory is bounded above what it starts with."""
    program = f"""
import resource, time
from pathlib import Path
from rotationbench.datasets.plain_pickle import read_plain_pickle
from rotationbench.datasets.reading import Problems
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 200 * 2**20,) * 2)
problems, began = Problems(), time.process_time()
assert read_plain_pickle(Path({str(path)!r}), problems) is None
assert time.process_time() - began < 1
print(problems[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: expected ")
    assert len(done.stdout) < 500


def test_many_opcodes_are_refused_within_a_second():
    data = b"\x80\x04(" + b"K\x01" * (MOST_OPCODES + 5) + b"l."
    began = time.process_time()
    with pytest.raises(RefusedPickleError, match="more than 200000 opcodes"):
        load_plain(data)
    assert time.process_time() - began < 1


def reduced(function, arguments, state=None):
    """A pickle of a call that numpy's own pickles make, with arguments of one's own."""

    class Call:
        def __reduce__(self):
            return (function, arguments) if state is None else (function, arguments, state)

    return pickle.dumps(Call(), 2)


RECONSTRUCT, NDARRAY_ARGS = np.empty(0).__reduce__()[0], np.empty(0).__reduce__()[1]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ((1, (10**6,), np.dtype("u1"), False, b"abc"), "an array of shape (1000000,) and dtype u1 in 3 bytes"),
        ((1, (-1,), np.dtype("u1"), False, b"abc"), "an array of shape tuple (-1,)"),
        ((1, (2**40, 0), np.dtype("u1"), False, b""), "an array of shape"),
        ((1, (1,) * 9, np.dtype("u1"), False, b"a"), "an array of shape"),
        ((1, (True,), np.dtype("u1"), False, b"a"), "an array of shape"),
        ((1, (1,), np.dtype("U1"), False, b"abcd"), "an array of dtype str 'U1'"),
        ((1, (1,), np.dtype("O"), False, [1]), "an array of dtype str 'O8'"),
        ((1, (1,), np.dtype([("a", "u1")]), False, b"a"), "an array of dtype str 'V1'"),
        ((1, (1,), "u1", False, b"a"), "an array of"),
        ((1, (1,)), "an array with the state"),
    ],
)
def test_arrays_whose_shape_type_and_bytes_do_not_fit_are_refused(state, words):
    with pytest.raises(RefusedPickleError) as caught:
        load_plain(reduced(RECONSTRUCT, NDARRAY_ARGS, state))
    assert words in str(caught.value)


def test_kind_22_a_dtype_is_not_built_again_after_its_array_exists():
    """With numpy's own types, the second state makes the array read beyond its bytes."""
    dtype = b"cnumpy\ndtype\n(S'U1'\nI00\nI01\ntR"
    state = b"(I3\nS'<'\nNNNI%d\nI4\nI8\nt"
    data = (
        dtype + b"p1\n" + state % 4 + b"b0cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1\ntg1\nI00\nS'abcd'\ntbg1\n" + state % 40000 + b"b0."
    )
    with pytest.raises(RefusedPickleError, match="an array of dtype str 'U1'"):
        load_plain(data)
    with pytest.raises(RefusedPickleError, match="with the state"):
        load_plain(data.replace(b"S'U1'", b"S'i4'").replace(b"(I3\nS'<'\nNNNI4\n", b"(I3\nS'<'\nNNNI-1\n"))
    built_twice = data.replace(b"S'U1'", b"S'i4'").replace(b"NNNI40000\n", b"NNNI-1\n")
    with pytest.raises(RefusedPickleError, match="an array of dtype <i4 with the state"):
        load_plain(built_twice)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"]\x94h\x00a.", "nested more than 32 deep"),
        (b"(" + b"]" * 100 + b"a" * 99 + b".", "nested more than 32 deep"),
        (b"}K\x01\x85K\x02s.", "a tuple as the key of a dict"),
        (b"}]K\x02s.", "a list as the key of a dict"),
        (b"\x8a\xff" + b"\x7f" * 255 + b".", "a number of"),
        (b"cnumpy\nndarray\n.", "a part of an array in place of a value"),
        (b"cnumpy\nndarray\n)R.", "a call of"),
        (b"K\x01K\x02R.", "a call of"),
        (b"K\x01K\x02b.", "a state of int 1"),
        (b"(i__builtin__\nint\n.", "the opcode INST"),
        (b"\x82\x01.", "the opcode EXT1"),
        (b"K\x01K\x02a.", "items of something that is no list"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.", "an encoding"),
    ],
)
def test_streams_that_make_anything_else_are_refused(data, words):
    with pytest.raises(RefusedPickleError) as caught:
        load_plain(data)
    assert words in str(caught.value)


def test_kind_27_a_pickled_none_is_a_problem(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(None))
    problems = Problems()
    assert read_plain_pickle(tmp_path / "a.pkl", problems) is None
    assert problems == [f"{tmp_path / 'a.pkl'}: expected a pickle with content, got None."]


def test_what_is_shared_stays_shared_and_arrays_are_apart():
    array = np.arange(6).reshape(2, 3)
    read = load_plain(pickle.dumps([array, array, array.T]))
    assert read[0] is read[1]
    assert (read[2] == array.T).all()
    read[0][0, 0] = 7


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04", b"garbage", pickle.dumps({"mask": half_mask()})[:200], b"\x80\x04\x95" + b"\xff" * 8],
)
def test_broken_pickles(tmp_path, content):
    path = tmp_path / "meta_data.pkl"
    path.write_bytes(content)
    problems = Problems()
    assert read_plain_pickle(path, problems) is None
    assert len(problems) == 1
    assert "expected" in problems[0]
