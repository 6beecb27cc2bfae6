import pytest

from rotationbench.errors import ConfigError
from rotationbench.names import LONGEST_NAME_BYTES, checked_name, folded, name_clashes, name_fault


@pytest.mark.parametrize(
    "name",
    ["cat", "cat-tilt right", "cat[1]", "日本語", "a.png", "été", "JH_2023-09-14-0001-01", "x" * LONGEST_NAME_BYTES],
)
def test_plain_names_have_no_fault(name):
    assert name_fault(name) is None
    assert checked_name(name, "label") == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "a name that is not empty"),
        ("  ", "a name that is not empty"),
        (".", "without a dot in front"),
        ("..", "without a dot in front"),
        (".hidden", "without a dot in front"),
        ("a/b", "without slashes"),
        ("/", "without slashes"),
        ("a\\b", "without slashes"),
        ("a\0b", "got 'a\\x00b', which holds a control character"),
        ("a\nb", "which holds a control character"),
        ("a\x9bb", "which holds a control character"),
        ("a\u2028b", "which holds a line break"),
        ("a\ud800", "which holds a lone surrogate"),
        ("x" * (LONGEST_NAME_BYTES + 1), "a name of at most 200 bytes"),
        ("ü" * 101, "a name of at most 200 bytes"),
        (5, "expected text, got int"),
        (None, "expected text, got NoneType"),
    ],
)
def test_what_is_no_plain_path_component_is_refused_in_one_printable_line(name, words):
    fault = name_fault(name)
    assert words in fault
    assert fault.isprintable()
    assert len(fault) < 200
    with pytest.raises(ConfigError, match=r"^label: expected"):
        checked_name(name, "label")


def test_reserved_names_are_taken_whatever_their_capitals():
    assert name_fault("Edits.CSV") is None
    assert "not taken by something else" in name_fault("Edits.CSV", reserved=("samples", "edits.csv"))


def test_names_that_are_one_file_on_some_file_system_clash():
    assert name_clashes(["cat", "dog", "Cat", "dog", "cats"]) == [("cat", "Cat"), ("dog", "dog")]
    assert name_clashes(["é", "e\u0301"]) == [("é", "e\u0301")]
    assert name_clashes(["Straße", "STRASSE"]) == [("Straße", "STRASSE")]
    assert folded("É") == folded("e\u0301")
    assert name_clashes(["cat", "dog"]) == []


def test_every_name_without_a_fault_makes_a_folder(tmp_path):
    for name in ("cat", "日本語", "x" * LONGEST_NAME_BYTES, "$frac{", "-rf", "CON"):
        assert name_fault(name) is None
        (tmp_path / name).mkdir()
        assert (tmp_path / name).parent == tmp_path
