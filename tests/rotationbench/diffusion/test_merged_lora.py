from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests_helpers import GOLDEN

from rotationbench.diffusion import LoraSettings, attached_lora
from rotationbench.diffusion.lora import _attach, _lora_parameters, scale_lora
from rotationbench.diffusion.merged_lora import lora_apart, lora_merged

TIMESTEP = 301
SETTINGS = LoraSettings(rank=3, steps=2, batch_size=1, lr=1e-2)


def noise_of(core):
    latents = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(5)).to(core.latent_dtype)
    with torch.no_grad():
        return core.noise(latents, TIMESTEP, core.embed(""))


@pytest.fixture
def core(golden_core):
    """A core that carries a LoRA with an effect, beside its weights."""
    core = golden_core(dtype="fp64")
    _attach(core, LoraSettings(rank=4), seed=0)
    for parameter in _lora_parameters(core):
        parameter.data += 0.02
    return core


def own_weights(core):
    return {name: value for name, value in core.unet.named_parameters() if "lora_" not in name}


def test_it_computes_the_same_and_the_weights_come_back_to_the_last_bit(core):
    own, beside = own_weights(core), noise_of(core)
    values = {name: value.clone() for name, value in own.items()}
    with lora_merged(core, "identity"):
        torch.testing.assert_close(noise_of(core), beside, rtol=1e-10, atol=1e-10)
        changed = [name for name, value in own_weights(core).items() if not torch.equal(value, values[name])]
        # Four projections in each of 16 self- and 16 cross-attention layers.
        assert len(changed) == 128
        with lora_apart(core):
            torch.testing.assert_close(noise_of(core), beside, rtol=0, atol=0)
    for name, value in own_weights(core).items():
        assert value is own[name] and torch.equal(value, values[name])
    torch.testing.assert_close(noise_of(core), beside, rtol=0, atol=0)


def test_nothing_is_computed_beside_merged_weights(core):
    called = []
    for name, module in core.unet.named_modules():
        if "lora_A" in name or "lora_B" in name:
            module.register_forward_hook(lambda *seen, name=name: called.append(name))
    with lora_merged(core, "identity"):
        noise_of(core)
        assert called == []
    noise_of(core)
    assert called


@pytest.mark.parametrize("where", ["inside", "while merging", "apart"])
def test_the_weights_come_back_after_an_error(core, monkeypatch, where):
    own = own_weights(core)
    if where == "while merging":
        layers = [module for module in core.unet.modules() if hasattr(module, "get_delta_weight")]
        monkeypatch.setattr(layers[40], "get_delta_weight", lambda adapter: 1 / 0)
    with pytest.raises(ZeroDivisionError), lora_merged(core, "identity"):
        if where == "apart":
            with lora_apart(core):
                raise ZeroDivisionError
        raise ZeroDivisionError
    assert core.merged_lora is None
    for name, value in own_weights(core).items():
        assert value is own[name]
    assert not any(module.merged for module in core.unet.modules() if hasattr(module, "merged_adapters"))


def test_a_picture_s_lora_is_merged_and_weighed_merged(golden_core, golden_sample):
    core, sample = golden_core(dtype="fp64"), golden_sample("rocket").resized((64, 64))
    plain, own = noise_of(core), own_weights(core)
    with attached_lora(core, core.image_tensor(sample.image), sample.prompt, SETTINGS, seed=0):
        full = noise_of(core)
        assert core.merged_lora is not None
        with lora_apart(core):
            torch.testing.assert_close(noise_of(core), full, rtol=1e-9, atol=1e-9)
        scale_lora(core, 0.4)
        merged = noise_of(core)
        assert not torch.allclose(merged, full)
        with lora_apart(core):
            torch.testing.assert_close(noise_of(core), merged, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(noise_of(core), plain, rtol=0, atol=0)
    assert all(value is own[name] for name, value in own_weights(core).items())


def test_a_lora_that_somebody_loads_works_beside_the_weights(golden_core):
    core = golden_core(dtype="fp64")
    plain = noise_of(core)
    core.unet.load_lora_adapter(load_file(GOLDEN / "rocket_lora.safetensors"), prefix="unet")
    core.unet.to(torch.float64)
    # The same text was projected without the LoRA just before.
    assert not torch.allclose(noise_of(core), plain)
