from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from safetensors.torch import load_file
from tests_helpers import GOLDEN

from rotationbench.diffusion.attention import (
    lent_keys_and_values,
    mutual_self_attention,
    recorded_keys_and_values,
    self_attention_layers,
    set_attention_kernel,
    shared_self_attention_layers,
    up_block_self_attention_layers,
)

TIMESTEP = 301


@pytest.fixture(params=["sdpa", "unfused"])
def core(request, golden_core):
    return golden_core(dtype="fp64", attention=request.param)


@pytest.fixture
def latents() -> tuple[torch.Tensor, torch.Tensor]:
    # Not square, so that a confusion of rows and columns shows.
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 1, 4, 8, 16, generator=generator, dtype=torch.float64)
    return first, second


@torch.no_grad()
def recorded(core, layers, latents):
    with recorded_keys_and_values(layers) as store:
        core.noise(latents, TIMESTEP, core.embed(""))
    return store


def test_layers_are_numbered_as_a_pass_meets_them(core):
    layers = self_attention_layers(core.unet)
    assert len(layers) == 16
    assert up_block_self_attention_layers(core.unet) == layers[7:]
    assert shared_self_attention_layers(core.unet) == layers[10:]


@torch.no_grad()
def test_recording_leaves_the_pass_as_it_is_and_keeps_what_the_projections_gave(core, latents):
    layers = self_attention_layers(core.unet)
    seen = {}
    handles = [
        projection.register_forward_hook(
            lambda module, inputs, output, key=(index, kind): seen.__setitem__(key, output)
        )
        for index, layer in enumerate(layers)
        for kind, projection in (("key", layer.to_k), ("value", layer.to_v))
    ]
    plain = core.noise(latents[0], TIMESTEP, core.embed(""))
    for handle in handles:
        handle.remove()
    with recorded_keys_and_values(layers) as store:
        core.noise(latents[1], TIMESTEP, core.embed(""))
        noise = core.noise(latents[0], TIMESTEP, core.embed(""))
    torch.testing.assert_close(noise, plain, rtol=0, atol=0)
    for index in range(16):
        torch.testing.assert_close(store.keys[index], seen[index, "key"], rtol=0, atol=0)
        torch.testing.assert_close(store.values[index], seen[index, "value"], rtol=0, atol=0)


@torch.no_grad()
def test_a_pass_that_is_lent_its_own_keys_and_values_is_unchanged(core, latents):
    plain = core.noise(latents[0], TIMESTEP, core.embed(""))
    with lent_keys_and_values(recorded(core, self_attention_layers(core.unet), latents[0])):
        torch.testing.assert_close(core.noise(latents[0], TIMESTEP, core.embed("")), plain, rtol=0, atol=0)


@torch.no_grad()
def test_lending_to_the_shared_layers_is_mutual_self_attention(core, latents):
    """Mutual self-attention computes two latents side by side; the layers before the shared ones agree anyway."""
    with mutual_self_attention(core.unet):
        together = core.noise(torch.cat(latents), TIMESTEP, core.embed(""))
    with lent_keys_and_values(recorded(core, shared_self_attention_layers(core.unet), latents[0])):
        alone = core.noise(latents[1], TIMESTEP, core.embed(""))
        batch = core.noise(torch.cat(latents), TIMESTEP, core.embed(""))
    torch.testing.assert_close(alone, together[1:], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(batch, together, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(alone, core.noise(latents[1], TIMESTEP, core.embed("")))


@torch.no_grad()
def test_what_was_recorded_without_a_lora_is_lent_under_one(core, latents):
    layers = self_attention_layers(core.unet)
    store = recorded(core, layers, latents[0])
    core.unet.load_lora_adapter(load_file(GOLDEN / "rocket_lora.safetensors"), prefix="unet")
    core.unet.to(torch.float64)
    assert not torch.equal(recorded(core, layers, latents[0]).keys[0], store.keys[0])
    projected = []
    for layer in layers:
        layer.to_k.register_forward_hook(lambda *seen: projected.append("key"))
        layer.to_v.register_forward_hook(lambda *seen: projected.append("value"))
    with lent_keys_and_values(store):
        core.noise(latents[0], TIMESTEP, core.embed(""))
    assert projected == []


def test_gradients_pass_through_a_pass_with_lent_keys_and_values(core, latents):
    store = recorded(core, up_block_self_attention_layers(core.unet), latents[0])
    variable = latents[1].clone().requires_grad_(True)
    with lent_keys_and_values(store):
        (gradient,) = torch.autograd.grad(core.noise(variable, TIMESTEP, core.embed("")).square().sum(), variable)
    assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
    assert not any(key.requires_grad for key in store.keys)


def test_processors_are_restored_also_after_an_error(core, latents):
    layers = self_attention_layers(core.unet)
    before = [layer.processor for layer in layers]
    store = recorded(core, layers, latents[0])
    assert [layer.processor for layer in layers] == before
    with pytest.raises(RuntimeError, match="inside"), recorded_keys_and_values(layers[:3]):
        raise RuntimeError("inside")
    with pytest.raises(RuntimeError, match="inside"), lent_keys_and_values(store), mutual_self_attention(core.unet):
        raise RuntimeError("inside")
    assert [layer.processor for layer in layers] == before


def test_lending_what_was_never_recorded_is_an_error(core):
    with recorded_keys_and_values(self_attention_layers(core.unet)) as store:
        pass
    with pytest.raises(ValueError, match="not evaluated"), lent_keys_and_values(store):
        pass


def test_mutual_self_attention_lends_the_first_picture_to_the_second(core):
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1, 4, 16, 16, generator=generator)
    context = core.embed("a photo of a cat")
    layers = self_attention_layers(core.unet)
    assert len(layers) == 16
    before = [layer.processor for layer in layers]
    with torch.no_grad():
        plain = core.noise(torch.cat([first, second]), 301, context)
        with mutual_self_attention(core.unet):
            lent = core.noise(torch.cat([first, second]), 301, context)
            same = core.noise(torch.cat([first, first]), 301, context)
    torch.testing.assert_close(lent[:1], plain[:1])
    assert not torch.allclose(lent[1:], plain[1:])
    torch.testing.assert_close(same[0], same[1])
    with pytest.raises(RuntimeError, match="inside"), mutual_self_attention(core.unet):
        raise RuntimeError("inside")
    assert [layer.processor for layer in layers] == before


def projections_of_text(core):
    """Counts how often cross-attention layers project, from here on."""
    projected = []
    for name, module in core.unet.named_modules():
        if name.endswith(("attn2.to_k", "attn2.to_v")):
            module.register_forward_hook(lambda *seen, name=name: projected.append(name))
    return projected


def test_a_text_is_projected_once_and_anew_when_something_changed(core, latents):
    cat, dog = core.embed("a cat"), core.embed("a dog")
    projected = projections_of_text(core)
    layers = 16

    def projections(context, latents=latents[0]):
        before = len(projected)
        noise = core.noise(latents, TIMESTEP, context)
        return len(projected) - before, noise

    with torch.no_grad():
        count, first = projections(cat)
        assert count == 2 * layers
        count, again = projections(cat)
        assert count == 0
        torch.testing.assert_close(again, first, rtol=0, atol=0)
        # Another batch and another latent have the same text.
        assert projections(cat, torch.cat(latents))[0] == 0
        count, other = projections(dog)
        assert count == 2 * layers and not torch.allclose(other, first)
        assert projections(cat)[0] == 2 * layers
        weight = next(module for name, module in core.unet.named_modules() if name.endswith("attn2.to_v")).weight
        weight.mul_(1.5)
        count, changed = projections(cat)
        assert count == 2 and not torch.allclose(changed, first)
        pair = torch.cat([cat, dog])
        assert projections(pair, torch.cat(latents))[0] == 2 * layers
        assert projections(pair, torch.cat(latents))[0] == 0
    with torch.inference_mode():
        core.noise(latents[0], TIMESTEP, dog)
    variable = latents[0].clone().requires_grad_(True)
    assert projections(dog, variable)[0] == 0
    (gradient,) = torch.autograd.grad(core.noise(variable, TIMESTEP, dog).square().sum(), variable)
    assert gradient.abs().max() > 0


def test_a_remembered_text_gives_what_projecting_gives(core, latents):
    context = core.embed("a cat")
    with torch.no_grad():
        core.noise(latents[1], TIMESTEP, context)
        remembered = core.noise(latents[0], TIMESTEP, context)
        kernel = self_attention_layers(core.unet)[0].processor
        set_attention_kernel(core.unet, "sdpa" if isinstance(kernel, AttnProcessor2_0) else "unfused")
        torch.testing.assert_close(core.noise(latents[0], TIMESTEP, context), remembered, rtol=1e-12, atol=1e-12)


def test_a_text_that_is_optimised_has_its_gradient(core, latents):
    context = core.embed("a cat").clone().requires_grad_(True)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(core.noise(latents[0], TIMESTEP, context).square().sum(), context)
        assert gradient.abs().max() > 0


@torch.no_grad()
def test_mutual_self_attention_projects_what_it_lends_once(core, latents):
    rows = []
    for layer in shared_self_attention_layers(core.unet):
        layer.to_k.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
        layer.to_v.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    with mutual_self_attention(core.unet):
        core.noise(torch.cat(latents), TIMESTEP, core.embed(""))
    assert rows == [1] * 12


def test_keys_and_values_of_an_inference_pass_can_be_lent_to_a_pass_with_gradients(core, latents):
    layers = up_block_self_attention_layers(core.unet)
    with torch.inference_mode(), recorded_keys_and_values(layers) as store:
        core.noise(latents[0], TIMESTEP, core.embed(""))
    variable = latents[1].clone().requires_grad_(True)
    with lent_keys_and_values(store):
        (gradient,) = torch.autograd.grad(core.noise(variable, TIMESTEP, core.embed("")).square().sum(), variable)
    assert gradient.abs().max() > 0


def test_shared_layers_are_those_of_the_last_two_up_blocks(core):
    layers = self_attention_layers(core.unet)
    shared = {id(module) for block in core.unet.up_blocks[2:] for module in block.modules()}
    assert [id(layer) in shared for layer in layers] == [False] * 10 + [True] * 6
