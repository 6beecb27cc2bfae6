"""Numbers that stop being finite end an edit, and the message says where they did."""

from __future__ import annotations

import pytest
import torch

from methods.dragdiffusion import DragDiffusion
from methods.sde_drag import SdeDrag
from rotationbench.diffusion.cost import Cost
from rotationbench.diffusion.finite import MOST_PENDING, FiniteWatch
from rotationbench.errors import NonFiniteError
from rotationbench.method import DragResult
from rotationbench.points import GridPoints

METHODS = (DragDiffusion(max_steps=2, lora=None), SdeDrag(steps=4, t0=0.5, lora=None))


@pytest.fixture
def watch() -> FiniteWatch:
    return FiniteWatch(Cost(), "; try harder")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_kind_9_the_first_tensor_that_is_not_finite_is_named(watch, value, dtype):
    watch.watch(torch.ones(2, 3, dtype=dtype), "a whole one")
    watch.check()
    broken = torch.ones(2, 3, dtype=dtype)
    broken[1, 1] = value
    with watch.cost.phase("drag"):
        watch.cost.count(1, grad=False)
        watch.watch(torch.ones(2), "a whole one")
        watch.watch(broken, "the gradient")
        watch.cost.count(1, grad=False)
        watch.watch(broken, "what follows")
    with pytest.raises(NonFiniteError) as caught:
        watch.check()
    assert str(caught.value) == (
        "the gradient (phase drag, after 1 UNet evaluations): expected finite numbers, got NaN or infinity; try harder."
    )
    watch.check()


def test_the_largest_float64_is_finite(watch):
    watch.watch(torch.tensor([torch.finfo(torch.float64).max], dtype=torch.float64), "a large one")
    watch.check()


def test_notes_are_read_before_they_grow_without_bound_and_can_be_dropped(watch):
    watch.watch(torch.tensor([torch.nan]), "the first")
    watch.forget()
    watch.check()
    watch.watch(torch.tensor([torch.nan]), "the second")
    with pytest.raises(NonFiniteError, match="the second"):
        for _ in range(MOST_PENDING):
            watch.watch(torch.ones(1), "a whole one")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_kind_9_an_edit_says_where_its_numbers_broke(golden_core, golden_sample, method):
    core, sample = golden_core(num_inference_steps=4), golden_sample("cat").resized((64, 64))
    evaluations = []

    def break_the_second(module, inputs, output):
        evaluations.append(module)
        return output * torch.nan if len(evaluations) == 2 else None

    core.unet.mid_block.register_forward_hook(break_the_second)
    with pytest.raises(NonFiniteError, match=r"^the UNet's prediction \(phase \w+, after 2 UNet evaluations\)"):
        method.edit(core, sample)
    core.start_edit()
    assert method.edit(core, sample).edited.isfinite().all()


def test_kind_9_a_gradient_that_overflows_is_named(golden_core):
    core = golden_core()
    latents = torch.ones(1, 4, 16, 16, requires_grad=True)
    core.gradient((latents * 1e30).square().sum() * 1e30, latents)
    with pytest.raises(NonFiniteError, match="the gradient of the loss"):
        core.finite.check()


def test_kind_9_an_inversion_that_is_not_finite_is_not_remembered(golden_core, golden_sample):
    core, sample = golden_core(), golden_sample("cat")
    image = core.image_tensor(sample.image)
    handle = core.unet.mid_block.register_forward_hook(lambda module, inputs, output: output * torch.nan)
    with pytest.raises(NonFiniteError, match="phase inversion, after 1 UNet"):
        core.invert_image(image, sample.prompt, 2)
    handle.remove()
    assert core.invert_image(image, sample.prompt, 2).isfinite().all()


@pytest.mark.parametrize("broken", ["picture", "handle"])
def test_kind_9_a_result_that_is_not_finite_is_none(broken):
    picture, handle = torch.zeros(1, 3, 8, 8), torch.zeros(1, 2)
    (picture if broken == "picture" else handle).view(-1)[-1] = torch.nan
    with pytest.raises(NonFiniteError, match=f"expected a finite {broken}, got NaN or infinity"):
        DragResult(
            edited=picture,
            trajectory=[GridPoints(torch.zeros(1, 2)), GridPoints(handle)],
            targets=GridPoints(torch.zeros(1, 2)),
            steps=1,
            converged=None,
        )
