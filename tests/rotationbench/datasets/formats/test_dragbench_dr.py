"""DragBench-DR's pickle."""

import pickle

import numpy as np
import pytest
from format_layouts import dragbench_dr, half_mask, the_problem

from rotationbench.datasets import open_dataset


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.int64])
def test_numpy_pickles_of_every_protocol(tmp_path, protocol, dtype):
    mask = np.asfortranarray((half_mask() > 0).astype(dtype))
    points = [np.array([10, 12]), (np.int64(20), np.float32(14.5))]
    dragbench_dr(tmp_path / "cat", {"prompt": "a cat", "points": points, "mask": mask}, protocol)
    sample = open_dataset(tmp_path)[0]
    assert (sample.mask == (half_mask() > 0)).all()
    assert sample.sources.xy.tolist() == [[10, 12]]
    assert sample.targets.xy.tolist() == [[20, 14.5]]


def test_pickles_of_numpy_1_name_other_modules(tmp_path):
    content = pickle.dumps({"prompt": "", "points": [[1, 2], [3, 4]], "mask": half_mask()}, protocol=2)
    assert b"numpy._core.multiarray" in content
    dragbench_dr(tmp_path)
    (tmp_path / "meta_data.pkl").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert (open_dataset(tmp_path)[0].mask == (half_mask() > 0)).all()


class Touch:
    """Creates a file when it is unpickled by anything that runs what a pickle names."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def malicious_pickles(trace):
    import os
    import subprocess

    yield "posix.system", pickle.dumps(Touch(os.system, f"touch {trace}"))
    yield "subprocess.Popen", pickle.dumps({"mask": half_mask(), "x": Touch(subprocess.Popen, ["touch", str(trace)])})
    yield "builtins.eval", pickle.dumps([Touch(eval, f"open({str(trace)!r}, 'w')")])
    yield "builtins.getattr", b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'tofile'\ntR."
    yield "numpy.load", pickle.dumps(Touch(np.load, str(trace)))
    yield "numpy.ndarray.__reduce__", b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__reduce__\x93."
    yield "a persistent reference", b"Psomewhere\n."
    yield "an encoding", b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR."
    yield "an array of dtype", b"cnumpy\ndtype\n(S'O8'\ntR."


@pytest.mark.parametrize("index", range(9))
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_of_it_runs(tmp_path, index):
    trace = tmp_path / "trace"
    named, content = list(malicious_pickles(trace))[index]
    folder = tmp_path / "data" / "cat"
    dragbench_dr(folder)
    (folder / "meta_data.pkl").write_bytes(content)
    problem = the_problem(tmp_path / "data")
    assert problem.startswith(str(folder / "meta_data.pkl"))
    assert "expected only containers, strings, numbers and numpy arrays, got" in problem
    assert named in problem
    assert not trace.exists()


def test_the_malicious_pickles_would_run(tmp_path):
    trace = tmp_path / "trace"
    _, content = next(malicious_pickles(trace))
    pickle.loads(content)
    assert trace.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.zeros((4, 4), np.uint8)}, "expected the picture's size 64 × 48 (width × height), got 4 × 4"),
        ({"mask": "mask.png"}, 'expected a numeric array (H, W) as "mask", got str'),
        ({"points": [[1, 2]]}, "an even number of points"),
        ({"prompt": None}, 'a string as "prompt"'),
    ],
)
def test_wrong_content_of_a_pickle(tmp_path, change, words):
    meta = {"prompt": "", "points": [[1, 2], [3, 4]], "mask": half_mask()}
    dragbench_dr(tmp_path / "cat", meta | change)
    assert words in the_problem(tmp_path)


def test_a_pickle_without_a_dict(tmp_path):
    dragbench_dr(tmp_path / "cat", [1, 2])
    assert "expected a dict with prompt, points and mask, got list [1, 2]" in the_problem(tmp_path)
