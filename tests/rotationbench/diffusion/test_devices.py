from __future__ import annotations

import pytest
import torch

from rotationbench.diffusion.devices import DTYPES, resolve_device, resolve_dtype
from rotationbench.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["mps", "xpu", "meta", "hpu", "xla", "privateuseone", "cpu:1", "cuda:-1", "gpu", "", "vulkan:0", "cuda:x"]
)
def test_kind_29_devices_that_the_core_cannot_use(name):
    with pytest.raises(ConfigError, match=r"^device: expected .*, got") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_kind_29_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no GPU"):
        resolve_device("cuda")
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="expected cuda:0 to cuda:1, got 'cuda:2'"):
        resolve_device("cuda:2")


def test_number_types():
    assert resolve_dtype("auto", torch.device("cpu")) == torch.float32
    assert resolve_dtype("auto", torch.device("cuda")) == torch.float16
    assert [resolve_dtype(name, torch.device("cpu")) for name in DTYPES] == list(DTYPES.values())
    with pytest.raises(ConfigError, match="dtype: expected auto, fp64"):
        resolve_dtype("int8", torch.device("cpu"))
