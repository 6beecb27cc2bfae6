from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tests_helpers import GOLDEN

from rotationbench.diffusion import LoraSettings, attached_lora
from rotationbench.diffusion.trainable_lora import trainable_lora

TIMESTEP = 301


def latents(core):
    return torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(5)).to(core.latent_dtype)


def noise_of(core):
    return core.noise(latents(core), TIMESTEP, core.embed(""))


@torch.no_grad()
def test_it_begins_without_effect_and_leaves_no_trace(golden_core):
    core = golden_core(dtype="fp64")
    names, plain = list(core.unet.state_dict()), noise_of(core)
    with trainable_lora(core, 4, torch.Generator().manual_seed(0)) as lora:
        torch.testing.assert_close(noise_of(core), plain, rtol=0, atol=1e-12)
        assert len(lora.parameters) == 256
        assert all(parameter.dtype == torch.float64 and parameter.requires_grad for parameter in lora.parameters)
        for parameter in lora.parameters:
            parameter.data += 0.05
        assert not torch.allclose(noise_of(core), plain)
        with lora.set_aside():
            torch.testing.assert_close(noise_of(core), plain, rtol=0, atol=0)
        assert not torch.allclose(noise_of(core), plain)
    assert list(core.unet.state_dict()) == names
    torch.testing.assert_close(noise_of(core), plain, rtol=0, atol=0)


def test_the_seed_decides_it_in_the_order_in_which_diffusers_lists_attentions(golden_core):
    core = golden_core(dtype="fp64")
    with trainable_lora(core, 16, torch.Generator().manual_seed(42)) as lora:
        generator = torch.Generator().manual_seed(42)
        for first, second in zip(lora.parameters[::2], lora.parameters[1::2], strict=True):
            expected = torch.randn(first.shape, generator=generator).double() / 16
            torch.testing.assert_close(first.detach(), expected, rtol=0, atol=0)
            assert not second.detach().any()
        listed = list(core.unet.attn_processors)
        assert listed[-1].startswith("mid_block")
        last = core.unet.get_submodule(listed[-1].removesuffix(".processor")).to_out[0]
        assert lora.parameters[-1] is last.lora_B["drag"].weight


def test_gradients_of_a_pass_outlive_a_look_without_it(golden_core):
    core = golden_core(dtype="fp64")
    with trainable_lora(core, 2, torch.Generator().manual_seed(1)) as lora:
        expected = core.gradients(noise_of(core).square().sum(), lora.parameters)
        loss = noise_of(core).square().sum()
        with torch.no_grad(), lora.set_aside():
            noise_of(core)
        for gradient, wanted in zip(core.gradients(loss, lora.parameters), expected, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=0, atol=0)
        assert all(gradient.any() for gradient in expected[1::2])


def test_the_picture_s_lora_is_copied_and_stays(golden_core, golden_sample):
    core = golden_core(dtype="fp64")
    sample = golden_sample("rocket")
    image = core.image_tensor(sample.image)
    with torch.no_grad():
        plain = noise_of(core)
    with attached_lora(core, image, sample.prompt, LoraSettings(rank=3, lr=1e-2, steps=2, batch_size=1), seed=0):
        with torch.no_grad():
            with_picture = noise_of(core)
        with trainable_lora(core, 16, torch.Generator()) as lora, torch.no_grad():
            assert lora.parameters[0].shape[0] == 3
            # The picture's LoRA is merged outside, and works beside the weights here.
            torch.testing.assert_close(noise_of(core), with_picture, rtol=1e-9, atol=1e-9)
            for parameter in lora.parameters:
                parameter.data += 0.05
            with lora.set_aside():
                torch.testing.assert_close(noise_of(core), with_picture, rtol=1e-9, atol=1e-9)
        with torch.no_grad():
            torch.testing.assert_close(noise_of(core), with_picture, rtol=0, atol=0)
        assert not any("drag" in name for name in core.unet.state_dict())
        assert not any(parameter.requires_grad for parameter in core.unet.parameters())
    with torch.no_grad():
        torch.testing.assert_close(noise_of(core), plain, rtol=0, atol=0)
    assert not torch.allclose(with_picture, plain)


def test_a_lora_that_was_loaded_is_a_beginning_too(golden_core):
    core = golden_core(dtype="fp64")
    core.unet.load_lora_adapter(load_file(GOLDEN / "rocket_lora.safetensors"), prefix="unet")
    core.unet.to(torch.float64).requires_grad_(False)
    with torch.no_grad():
        before = noise_of(core)
        with trainable_lora(core, 16, torch.Generator()):
            torch.testing.assert_close(noise_of(core), before, rtol=0, atol=0)
        torch.testing.assert_close(noise_of(core), before, rtol=0, atol=0)


def test_an_error_inside_leaves_the_plain_unet(golden_core):
    core = golden_core()
    names = list(core.unet.state_dict())
    with pytest.raises(RuntimeError, match="inside"), trainable_lora(core, 2, torch.Generator()):
        raise RuntimeError("inside")
    assert list(core.unet.state_dict()) == names
