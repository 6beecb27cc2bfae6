from __future__ import annotations

import pytest
from hydra.errors import HydraException

from rotationbench.labels import label_of, overrides_of_sweep, swept_settings, variant_name
from rotationbench.names import name_fault
from rotationbench.results import changed_settings

IDENTITY = {
    "method": {"lam": 0.1, "lora": {"steps": 60}, "mapping": [1, 2]},
    "method_class": "methods.a.A",
    "method_version": 1,
    "sample": "one",
    "seed": 0,
    "model": "hash",
    "dtype": "torch.float32",
    "resolution": 512,
}
MODEL = {"pretrained": "a", "vae": None, "resolution": 512}


def test_a_label_names_what_a_sweep_varies_and_decides_an_edit():
    swept = {"method": "m", "method.lora.steps": "60", "model": "sd15", "dtype": "fp32", "extra": "1"}
    assert variant_name("m", swept) == "m-lora.steps=60-model=sd15-dtype=fp32-extra=1"
    unseen = ("seed", "samples", "data.split", "results_dir", "metrics", "evaluator.dift_model", "device", "limit")
    assert variant_name("m", dict.fromkeys(unseen, "1")) == "m"
    assert label_of("m", 0) == "m" and label_of("m", 12) == "m-seed12"


def test_any_value_gives_a_name_of_its_own_that_a_folder_can_have():
    values = ["a/b", "a_b", "a\\b", "[1,2]", "{rank: 2}", "'quoted'", "Ä ö", "x" * 300, "x" * 299 + "y", "..", "\n"]
    names = [variant_name("m", {"method.value": value}) for value in values]
    assert len(set(names)) == len(values)
    long = variant_name("m", {f"method.setting{index}": "x" * 60 for index in range(9)})
    for name in (*names, long):
        assert name_fault(label_of(name, 2**32 - 1)) is None


def test_a_sweep_is_told_what_it_does_not_vary():
    (told,) = overrides_of_sweep(["method=a,b", "+model.vae=x", "seed=range(3)", "limit=1"])
    assert told.endswith('exclude_keys=["model.vae", "limit"]')
    assert overrides_of_sweep(["seed=0,1"]) == []
    assert swept_settings() == {}
    with pytest.raises(HydraException):
        overrides_of_sweep(["seed"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"sample": "two", "seed": 1, "method_version": 2}, []),
        # Other files behind the same setting.
        ({"model": "other"}, []),
        ({"method": IDENTITY["method"] | {"mapping": (1, 2), "added": 5}}, []),
        ({"method": IDENTITY["method"] | {"lam": 0.2}}, ["method.lam: 0.1 → 0.2"]),
        ({"method": IDENTITY["method"] | {"lora": None}}, ["method.lora: {'steps': 60} → None"]),
        ({"method_class": "methods.b.B"}, ["method._target_: methods.a.A → methods.b.B"]),
        ({"resolution": 256}, ["model.resolution: 512 → 256"]),
        ({"dtype": "torch.float16"}, ["dtype: torch.float32 → torch.float16"]),
    ],
)
def test_settings_are_told_from_files_and_code(changes, expected):
    record = {"identity": IDENTITY, "config": {"model": MODEL}}
    assert changed_settings(record, IDENTITY | changes, MODEL) == expected


def test_other_weights_are_a_setting_when_another_file_was_named():
    record = {"identity": IDENTITY, "config": {"model": MODEL}}
    changed = changed_settings(record, IDENTITY | {"model": "other"}, MODEL | {"pretrained": "b"})
    assert changed == ["model.pretrained: a → b"]
    # The same weights at another place are no other setting, and before a model is loaded nothing is known of it.
    assert changed_settings(record, IDENTITY, MODEL | {"pretrained": "b"}) == []
    assert changed_settings(record, {key: IDENTITY[key] for key in ("method", "seed")}, MODEL) == []
