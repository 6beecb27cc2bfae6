"""A data set as a sequence, and which of its samples are chosen."""

import json

import pytest
from PIL import Image
from written_samples import problems_of, sample, the_problem, write_config

from rotationbench.datasets import open_dataset, write_sample
from rotationbench.errors import ConfigError, DatasetError


def test_a_data_set_is_a_sequence_by_name_and_position(root):
    dataset = open_dataset(root)
    assert dataset.names == ["cup", "spoon"]
    assert len(dataset) == 2
    assert dataset["spoon"].name == dataset[1].name == dataset[-1].name == "spoon"
    assert [item.name for item in dataset] == dataset.names
    assert [item.name for item in dataset[:1]] == ["cup"]
    with pytest.raises(IndexError):
        dataset[2]
    with pytest.raises(DatasetError, match=r"one of cup, spoon, got 'fork'"):
        dataset["fork"]


def test_samples_are_read_when_they_are_asked_for(root):
    dataset = open_dataset(root)
    Image.new("RGB", (64, 48), (1, 2, 3)).save(root / "cup" / "image.png")
    assert (dataset["cup"].image == (1, 2, 3)).all()


def test_one_sample_folder_is_a_data_set(root, monkeypatch):
    assert open_dataset(root / "cup").names == ["cup"]
    monkeypatch.chdir(root / "cup")
    assert open_dataset(".").names == ["cup"]


def test_nested_folders_and_equal_names(tmp_path):
    for folder in ("a/cup", "b/cup", "b/spoon", ".hidden/cup"):
        write_sample(tmp_path / folder, sample())
    assert open_dataset(tmp_path).names == ["a-cup", "b-cup", "spoon"]


# --- choosing


def test_unknown_choices_are_configuration_errors(root):
    for option in ("format", "split", "subset"):
        with pytest.raises(ConfigError, match=rf"data\.{option}: expected one of .*, got 'x'"):
            open_dataset(root, **{option: "x"})


def test_missing_folder_and_file_for_folder(tmp_path):
    assert the_problem(tmp_path / "none").endswith("expected a folder, found nothing.")
    (tmp_path / "file").write_text("")
    assert the_problem(tmp_path / "file").endswith("expected a folder, found a file.")


def test_splits(root):
    assert "expected samples of the split 'real', got none that names a split" in the_problem(root, split="real")
    for name, split in (("cup", "real"), ("spoon", "generated")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    assert open_dataset(root, split="real").names == ["cup"]
    assert open_dataset(root, split="generated").names == ["spoon"]
    assert open_dataset(root, split="all").names == ["cup", "spoon"]


def test_objects_that_were_trained_on_are_no_part_of_the_benchmark(root):
    for name, split in (("cup", "real"), ("spoon", "in_domain")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    assert open_dataset(root).names == open_dataset(root, split="all").names == ["cup"]
    assert open_dataset(root, split="in_domain").names == ["spoon"]
    assert open_dataset(root, split="any").names == ["cup", "spoon"]
    assert open_dataset(root / "spoon")[0].meta.split == "in_domain"
    (root / "demo.txt").write_text("spoon\ncup\n")
    assert open_dataset(root, subset="demo").names == ["spoon", "cup"]
    assert open_dataset(root, split="in_domain", subset="demo").names == ["spoon"]


def test_only_chosen_samples_are_checked(root):
    for name, split in (("cup", "real"), ("spoon", "generated")):
        (root / name / "meta.json").write_text(json.dumps({"split": split}))
    write_config(root / "cup", prompt=None)
    assert open_dataset(root, split="generated").names == ["spoon"]
    assert problems_of(root)


def test_the_quick_subset_is_a_list(root):
    assert the_problem(root, subset="quick") == f"{root / 'quick.txt'}: expected a file, found none."
    (root / "quick.txt").write_text("# first\nspoon\n\n")
    assert open_dataset(root, subset="quick").names == ["spoon"]
    (root / "quick.txt").write_text("spoon\nfork\n")
    assert "expected names of samples, got 'fork', which is none" in the_problem(root, subset="quick")


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
    problem = the_problem(tmp_path)
    for sign in ("config.json", "meta_data.pkl", "prompt.json", "points.json", "metadata.jsonl"):
        assert sign in problem
    assert "folders with config.json and image.png (rotationbench)" in the_problem(tmp_path, format="rotationbench")


def test_unchecked_opening_defers_problems_to_the_sample(root):
    write_config(root / "cup", point=[])
    dataset = open_dataset(root, check=False)
    assert dataset["spoon"].prompt == "a cup"
    with pytest.raises(DatasetError, match="at least one pair"):
        dataset["cup"]
    assert len(dataset.problems()) == 1
