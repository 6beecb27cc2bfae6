"""Everything a method computes with stays on the core's device: shown for CUDA on a machine that has none.

torch's fake tensors have a device, a shape and a number type but no values, and refuse to mix devices as real ones do.
Backward passes ask CUDA's driver for devices; they are run on torch's device "meta", which is told apart from the CPU
just as well.

What a method decides by values, such as whether to stop, has none to decide by, so that its building blocks are run one
by one; where they read a number, it is `NUMBER`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from tests_helpers import GOLDEN
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

import rotationbench.diffusion.core as core_module
import rotationbench.diffusion.ddim as ddim_module
import rotationbench.diffusion.lora as lora_module
from methods import (
    draglora,
    dragnoise,
    fastdrag,
    freedrag,
    gooddrag,
    latent_drag,
    regiondrag,
    rotationdrag,
    sde,
    sde_drag,
)
from rotationbench.diffusion import LoraSettings, StableDiffusion
from rotationbench.diffusion.core import grid_features
from rotationbench.diffusion.devices import DTYPES
from rotationbench.diffusion.features import bottleneck_in_place, capture_features, down_blocks_remembered
from rotationbench.diffusion.finite import FiniteWatch
from rotationbench.diffusion.loading import load_components
from rotationbench.diffusion.lora import attached_lora
from rotationbench.diffusion.trainable_lora import trainable_lora
from rotationbench.method import no_progress
from rotationbench.points import GridPoints

CUDA, META = torch.device("cuda", 0), torch.device("meta")
PROMPT = "a photo of a cat"
TIMESTEP, STEPS = 501, 3
NUMBER = 0


class SchedulerWithValues(DDIMScheduler):
    """Its timesteps are read as numbers, which fake tensors are not."""

    def set_timesteps(self, *arguments, **settings):
        with unset_fake_temporarily():
            super().set_timesteps(*arguments, **settings)


with_gradients = pytest.mark.parametrize("core", [(META, "fp32")], indirect=True, ids=["meta-fp32"])


def number(value):
    """`int` for fake tensors."""
    return NUMBER if torch.is_tensor(value) else int(value)


def move_by_new_parameters(module, move, recurse=True):
    """`Module._apply`, which moves a module in place: fake tensors cannot be swapped as it wants."""
    for child in module.children():
        move_by_new_parameters(child, move)
    with torch.no_grad():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(move(parameter), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else move(buffer)
    return module


@pytest.fixture(scope="module", params=[(CUDA, "fp32"), (CUDA, "fp16")], ids=["cuda-fp32", "cuda-fp16"])
def core(request):
    device, dtype = request.param[0], DTYPES[request.param[1]]
    components = load_components(str(GOLDEN / "tinyA"), vae=None, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(ddim_module, "DDIMScheduler", SchedulerWithValues)
        patch.setattr(core_module, "hash_weights", lambda *modules: "weights without values")
        for module in (latent_drag, lora_module):
            patch.setattr(module, "int", number, raising=False)
        # Reading the notes would need values.
        patch.setattr(FiniteWatch, "check", FiniteWatch.forget)
        patch.setattr(torch.nn.Module, "_apply", move_by_new_parameters)
        patch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        yield StableDiffusion(components, device=device, dtype=dtype, num_inference_steps=4)


@pytest.fixture(scope="module")
def sample(core):
    with unset_fake_temporarily():
        from tests_helpers import load_case

        case = load_case("cat")
        return replace(case, image=case.image[:, :96].copy(), mask=case.mask[:, :96].copy())


@pytest.fixture(scope="module")
def image(core, sample):
    return core.image_tensor(sample.image)


@pytest.fixture(scope="module")
def context(core):
    return core.embed(PROMPT)


@pytest.fixture(scope="module")
def latents(core, image):
    return core.encode(image)


def placed(tensor, core, shape=None):
    assert tensor.device == core.device
    assert shape is None or tuple(tensor.shape) == shape
    return tensor


def generator():
    return torch.Generator().manual_seed(0)


def test_devices_are_told_apart(core, latents):
    with pytest.raises(RuntimeError, match="two devices"):
        latents + torch.ones(1, 4, 16, 12)


def test_the_core_computes_where_its_weights_are(core, image, context, latents):
    placed(image, core, (1, 3, 128, 96))
    placed(latents, core, (1, 4, 16, 12))
    placed(context, core, (1, 77, 32))
    placed(core.sample_posterior(image, generator()), core, (1, 4, 16, 12))
    inverted = placed(core.invert(latents, context, STEPS), core, (1, 4, 16, 12))
    placed(core.features(inverted, TIMESTEP, context, 3), core, (1, 32, 16, 12))
    placed(core.sample_back(inverted, inverted, context, STEPS), core, (1, 4, 16, 12))
    placed(core.decode(inverted), core, (1, 3, 128, 96))


@with_gradients
def test_a_lora_is_trained_and_used_there(core, image, context, latents, monkeypatch):
    # The key of a LoRA is made of the picture's values.
    monkeypatch.setattr("rotationbench.diffusion.lora.lora_key", lambda *arguments: "key")
    with attached_lora(core, image, PROMPT, LoraSettings(steps=2, rank=4), seed=0):
        placed(core.noise(latents, TIMESTEP, context), core, (1, 4, 16, 12))


@with_gradients
def test_a_drag_step_with_its_loss_and_gradient(core, sample, context, latents):
    variable = latents.clone().requires_grad_(True)
    features, previous = latent_drag.features_and_previous(
        core, variable, context, TIMESTEP, sample.size, 3, step_back=True
    )
    placed(features, core, (1, 32, 64, 48))
    handle, target = torch.tensor([20.0, 20.0]).to(core.device), torch.tensor([30.0, 24.0]).to(core.device)
    may_change = torch.nn.functional.interpolate(latent_drag.mask_tensor(sample, core.device), size=(16, 12))
    loss = latent_drag.motion_supervision(features, handle, target, r_m=1)
    loss = loss + ((previous - previous.detach()) * (1 - may_change)).abs().sum()
    variable.grad = placed(core.gradient(loss, variable), core, (1, 4, 16, 12))
    torch.optim.Adam([variable], lr=0.01).step()
    placed(variable, core)
    placed(latent_drag.nearest_feature(features.detach(), features[0, :, 0, 0].detach(), handle, r_t=3), core, (2,))


def test_rotationdrag_reads_the_rotated_picture(core, sample, image, context, monkeypatch):
    # Which cells are read is worked out on the CPU, from handles that have values.
    rotated_cells = unset_fake_temporarily()(rotationdrag.RotatedReferences._rotated_cells)
    monkeypatch.setattr(rotationdrag.RotatedReferences, "_rotated_cells", rotated_cells)
    with unset_fake_temporarily():
        handles = GridPoints(torch.tensor([[20.0, 20.0], [30.0, 10.0]]))
    settings = rotationdrag.RotationDrag()
    references = rotationdrag.RotatedReferences(core, image, context, STEPS, handles, settings)
    for reference in references.at([30.0, -45.0]):
        placed(reference, core, (2, 32))
    cells = handles.rc.to(core.device)
    placed(rotationdrag.same_direction(cells, cells + 1, cells - 1), core, (2,))


def test_freedrag_compares_with_its_template(core, sample, context, latents):
    features = grid_features(core.features(latents, TIMESTEP, context, 3), sample.size)
    offsets = torch.tensor([-1.5, 0.0, 1.5]).to(core.device)
    point = torch.tensor([20.0, 20.0]).to(core.device)
    template = placed(freedrag.patch_at(features, point, offsets), core, (1, 32, 3, 3))
    placed(freedrag.difference(features, point, offsets, template), core)
    placed(freedrag.displacement(point, point + 3, 3.0), core, (2,))
    hold = freedrag.background_term(core, sample, latents.shape[2:], freedrag.FreeDrag(variant="official"))
    placed(hold((features, latents), (features, latents + 1)), core)


def test_sde_drag_pastes_and_denoises(core, latents):
    context = torch.cat([core.embed(""), core.embed(PROMPT)])
    cells = np.array([[8, 6]])
    pasted = placed(sde_drag.copy_and_paste(latents, cells, cells + 2, sde_drag.SdeDrag(), generator()), core)
    with torch.no_grad():
        noise = sde_drag.guided_noise(core, torch.cat([pasted, latents]), TIMESTEP, context, 3.0)
    alphas = sde.alpha_at(core, TIMESTEP), sde.alpha_at(core, -1)
    placed(sde.sde_mean(pasted, noise[:1], *alphas), core, (1, 4, 16, 12))


@with_gradients
def test_gooddrag_compares_with_the_original(core, sample, context, latents, monkeypatch):
    monkeypatch.setattr(gooddrag, "int", number, raising=False)
    settings = gooddrag.GoodDrag()
    start, target = torch.tensor([[20.0, 20.0]]), torch.tensor([[30.0, 24.0]])
    references = gooddrag.look_at_the_original(
        core, latents, context, [TIMESTEP, 251], sample, GridPoints(start), settings
    )
    for reference in references:
        # The handle is at `NUMBER`, in the corner, where its window is cut.
        placed(reference.patches[0], core, (1, 32, 5, 5))
        placed(reference.cells[0], core, (32,))
        placed(reference.previous, core, (1, 4, 16, 12))
    drag = gooddrag.Drag(core, context, sample, GridPoints(start), GridPoints(target), settings, 1, no_progress)
    variable = latents.clone().requires_grad_(True)
    features, previous = drag._evaluate(variable, TIMESTEP)
    loss = gooddrag.motion_supervision(
        features, references[0].patches[0], drag.start[0], drag.current[0], drag.goal[0], settings
    )
    loss = loss + ((previous - references[0].previous) * drag._outside(latents)).abs().sum()
    placed(core.gradient(loss, variable), core, (1, 4, 16, 12))


def test_fastdrag_keeps_and_denoises(core, image, context):
    with torch.no_grad():
        inverted, kept = fastdrag.invert_and_keep(core, image, context, 2)
        placed(inverted, core, (1, 4, 16, 12))
        for store in kept.values():
            placed(store.keys[0], core)
            placed(store.values[0], core)
        placed(fastdrag.denoise(core, inverted, context, 2, kept), core, (1, 4, 16, 12))


@with_gradients
def test_dragnoise_optimises_the_bottleneck(core, context, latents):
    with torch.no_grad(), capture_features(core.unet, 0, stop=False) as captured:
        core.noise(latents, TIMESTEP, context)
    bottleneck = placed(captured.take(), core, (1, 32, 2, 2)).clone().requires_grad_(True)
    with down_blocks_remembered(core.unet), bottleneck_in_place(core.unet, bottleneck):
        loss = core.noise(latents, TIMESTEP, context).sum()
    placed(core.gradient(loss, bottleneck), core, (1, 32, 2, 2))


def test_dragnoise_samples_with_it(core, context, latents):
    bottleneck = torch.ones(1, 32, 2, 2).to(core.device)
    placed(dragnoise.sample_with_bottleneck(core, latents, bottleneck, context, STEPS, 3), core, (1, 4, 16, 12))


@pytest.mark.parametrize("by_sde", [True, False])
def test_regiondrag_keeps_pastes_and_denoises(core, context, latents, by_sde, monkeypatch):
    # diffusers computes the timesteps with numpy, which cannot read fake tensors.
    monkeypatch.setattr(regiondrag, "noising_and_denoising", lambda *arguments: ([0, 166, 333], [499, 333, 166]))
    settings = regiondrag.RegionDrag(steps=6)
    pairs = np.array([[1, 2], [3, 4]]), np.array([[4, 4], [5, 4]])
    held = torch.ones(1, 1, 16, 12).to(core.device) == 0
    with torch.no_grad():
        if by_sde:
            levels = regiondrag.noise_by_sde(core, latents, context, settings, generator())
        else:
            levels = regiondrag.invert_by_ode(core, latents, context, settings, self_attention=True)
        for level in levels:
            placed(level.latents, core, (1, 4, 16, 12))
        start = placed(regiondrag.blur(levels[-1].latents, pairs[0], 0.6, generator()), core)
        back = regiondrag.denoise(core, start, levels, context, pairs, held, settings, step_done=lambda step: None)
    placed(back, core, (1, 4, 16, 12))


@with_gradients
def test_draglora_trains_and_samples(core, context, latents, monkeypatch):
    monkeypatch.setattr(draglora, "int", number, raising=False)
    with trainable_lora(core, 4, generator()) as lora:
        x0 = core.noise(latents, TIMESTEP, context)
        wanted, _ = draglora.denoising_target(core, lora, x0.detach(), context, generator())
        for gradient in core.gradients((x0 - placed(wanted, core, (1, 4, 16, 12))).square().mean(), lora.parameters):
            placed(gradient, core)
        placed(draglora.sample_with_lora(core, lora, latents, latents, context, 1), core, (1, 4, 16, 12))
