from __future__ import annotations

import pickle

from rotationbench.errors import DatasetError


def test_problems_survive_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(DatasetError(["a.png: broken.", "b.png: broken."])))
    assert error.problems == ("a.png: broken.", "b.png: broken.")
    assert str(error).startswith("2 problems")
