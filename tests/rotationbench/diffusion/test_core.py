from __future__ import annotations

import numpy as np
import pytest
import torch
from tests_helpers import GOLDEN

from rotationbench.diffusion import StableDiffusion
from rotationbench.errors import ConfigError

PROMPT = "a photo of a cat"


@pytest.fixture
def core(golden_core):
    return golden_core()


@pytest.fixture
def image(core, golden_sample):
    return core.image_tensor(golden_sample("cat").image)


def test_inverts_and_decodes_as_recorded(core, image, golden_recording):
    expected, _ = golden_recording("cat_dragdiffusion")
    inverted = core.invert_image(image, PROMPT, core.actual_steps(0.75))
    np.testing.assert_allclose(inverted.numpy(), expected["inverted"], rtol=1e-4, atol=1e-4)
    optimised = torch.from_numpy(expected["optimized"])
    edited = core.decode(core.sample_back(inverted, optimised, core.embed(PROMPT), 8))
    np.testing.assert_allclose(edited.numpy(), expected["edited"], atol=1e-3)


def test_an_inversion_in_fewer_steps_ends_at_the_same_level(golden_core, image):
    core = golden_core(dtype="fp64")
    latents, context = core.encode(image.double()), core.embed(PROMPT)
    found = core.invert(latents, context, 8, evaluations=3)
    assert core.cost.phases["other"].unet_calls == 3
    level = core.alphas[0]
    expected = latents
    with torch.no_grad():
        for timestep in (101, 401, 701):
            noise, after = core.noise(expected, timestep, context), core.alphas[timestep]
            clean = (expected - (1 - level).sqrt() * noise) / level.sqrt()
            expected, level = after.sqrt() * clean + (1 - after).sqrt() * noise, after
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_what_is_computed_without_gradients_can_be_optimised(core, image):
    context = core.embed(PROMPT)
    inverted = core.invert_image(image, PROMPT, 2)
    for latents in (inverted, core.sample_back(inverted, inverted, context, 2)):
        variable = latents.requires_grad_(True)
        features = core.features(variable, 301, context, 3)
        assert core.gradient((features * features.detach()).mean(), variable).abs().max() > 0


def test_steps_are_counted_from_the_picture(core):
    assert core.timesteps == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert core.timestep_stride == 100
    # 7.5 rounds to the even 8.
    assert core.actual_steps(0.75) == 8
    assert core.drag_timestep(8) == 701
    assert core.alpha(-99) == core.alphas[0]


def test_a_model_of_velocity_gives_the_noise(core, image):
    latents, context = core.encode(image), core.embed(PROMPT)
    timesteps = torch.tensor([1, 501])
    core.prediction_type = "v_prediction"
    with torch.no_grad():
        velocity = core.unet(latents.repeat(2, 1, 1, 1), timesteps, context.repeat(2, 1, 1)).sample
        noise = core.noise(latents.repeat(2, 1, 1, 1), timesteps, context)
    alpha = core.alphas[timesteps].view(-1, 1, 1, 1)
    x0 = alpha.sqrt() * latents - (1 - alpha).sqrt() * velocity
    torch.testing.assert_close(alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise, latents.repeat(2, 1, 1, 1))


def test_an_inversion_is_remembered_and_charged_all_the_same(core, image):
    first = core.invert_image(image, PROMPT, 4)
    seconds = core.cost.phases["inversion"].seconds
    core.cost.reset()
    second = core.invert_image(image, PROMPT, 4)
    assert core.cost.phases["inversion"].unet_calls == 4
    assert core.cost.phases["inversion"].seconds == pytest.approx(seconds)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    second.zero_()
    assert core.invert_image(image, PROMPT, 4).abs().sum() > 0
    assert not torch.equal(core.invert_image(image, "a dog", 4), first)


def test_a_batch_inverts_like_its_parts(core, image):
    latents = torch.cat([core.encode(image), core.encode(image.flip(3))])
    together = core.invert(latents, core.embed(PROMPT), 3)
    apart = torch.cat([core.invert(part[None], core.embed(PROMPT), 3) for part in latents])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("resolution", "size", "expected"),
    [
        (None, (128, 128), (128, 128)),
        (None, (131, 99), (128, 96)),
        (None, (5, 300), (8, 304)),
        (64, (128, 256), (64, 128)),
        (512, (100, 150), (512, 768)),
    ],
)
def test_working_size_keeps_the_aspect_and_whole_cells(golden_core, resolution, size, expected):
    assert golden_core(resolution=resolution).working_size(size) == expected


def test_a_side_that_is_no_multiple_of_the_factor_is_refused(core):
    with pytest.raises(ValueError, match=r"multiples of 8 px, got \(64, 60\)"):
        core.encode(torch.zeros(1, 3, 64, 60))


def test_latents_of_any_number_of_cells_pass_the_unet(core):
    latents = torch.randn(1, 4, 13, 17)
    assert core.noise(latents, 301, core.embed("")).shape == latents.shape


def test_the_posterior_is_sampled_around_its_mean(core, image):
    draws = torch.cat([core.sample_posterior(image, torch.Generator().manual_seed(seed)) for seed in range(64)])
    posterior = core.vae.encode(image).latent_dist
    scale = core.vae.config.scaling_factor
    standard_error = posterior.std * scale / 8
    deviation = (draws.mean(0, keepdim=True) - core.encode(image)) / standard_error
    assert deviation.abs().mean() == pytest.approx(np.sqrt(2 / np.pi), abs=0.1)
    same = core.sample_posterior(image, torch.Generator().manual_seed(5))
    torch.testing.assert_close(same, draws[5:6])


def test_long_prompts_are_cut_and_empty_ones_embedded(core):
    assert core.embed("").shape == (1, 77, 32)
    assert core.embed("a very long prompt " * 60).shape == (1, 77, 32)


def test_the_gradient_is_the_derivative(core):
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    context = core.embed(PROMPT)

    def loss(value: torch.Tensor) -> torch.Tensor:
        return core.features(value, 301, context, 3).square().mean()

    gradient = core.gradient(loss(latents), latents)
    direction = gradient / gradient.norm()
    with torch.no_grad():
        slope = (loss(latents + 1e-2 * direction) - loss(latents - 1e-2 * direction)) / 2e-2
    assert slope.item() == pytest.approx(gradient.norm().item(), rel=1e-2)
    assert all(parameter.grad is None for parameter in core.unet.parameters())


@pytest.mark.parametrize("dtype", ["bf16"])
def test_reduced_precision_stays_close_and_returns_float32(golden_core, golden_sample, dtype):
    reduced, full = golden_core(dtype=dtype), golden_core()
    image = full.image_tensor(golden_sample("cat").image)
    noise = reduced.noise(full.encode(image), 301, full.embed(PROMPT))
    assert noise.dtype == torch.float32
    expected = full.noise(full.encode(image), 301, full.embed(PROMPT))
    assert (noise - expected).norm() / expected.norm() < 0.05
    assert reduced.decode(reduced.encode(image)).dtype == torch.float32


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attention": "flash"}, "model.attention"),
        ({"num_inference_steps": 0}, "model.num_inference_steps"),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        StableDiffusion.from_pretrained(str(GOLDEN / "tinyA"), **{"device": "cpu"} | setting)


@pytest.mark.slow
def test_kind_34_a_compiled_unet_differs_by_rounding_in_every_batch_size_and_with_gradients(golden_core, golden_sample):
    plain, compiled = golden_core(attention="sdpa"), golden_core(attention="sdpa", compile_unet=True)
    sample = golden_sample("cat")
    context = plain.embed(PROMPT)
    for width in (128, 96):
        latents = plain.encode(plain.image_tensor(sample.image[:, :width]))
        for batch in (1, 2, 4):
            several = latents.repeat(batch, 1, 1, 1)
            with torch.no_grad():
                torch.testing.assert_close(
                    compiled.noise(several, 301, context), plain.noise(several, 301, context), rtol=1e-3, atol=1e-3
                )
        gradients = []
        for core in (plain, compiled):
            variable = latents.clone().requires_grad_(True)
            gradients.append(core.gradient(core.features(variable, 301, context, 3).square().mean(), variable))
        torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-3 * float(gradients[0].abs().max()))
        back = [core.sample_back(latents, 1.01 * latents, context, 3) for core in (plain, compiled)]
        torch.testing.assert_close(back[1], back[0], rtol=1e-3, atol=1e-3)
