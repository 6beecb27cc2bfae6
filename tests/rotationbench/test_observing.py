"""What an observer is told of an edit, that it changes nothing, and that it can end the edit anywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from methods.dragdiffusion import DragDiffusion
from methods.draglora import DragLora
from methods.dragnoise import DragNoise
from methods.fastdrag import FastDrag
from methods.freedrag import FreeDrag
from methods.gooddrag import GoodDrag
from methods.regiondrag import RegionDrag
from methods.rotationdrag import RotationDrag
from methods.sde_drag import SdeDrag
from methods.turn import Turn
from rotationbench.config import BenchmarkConfig
from rotationbench.diffusion.lora import LoraSettings
from rotationbench.editing import Editor
from rotationbench.errors import EditCancelledError

LORA = LoraSettings(steps=2, batch_size=1, rank=4)
METHODS = {
    "dragdiffusion": DragDiffusion(max_steps=3, lora=LORA),
    "rotationdrag": RotationDrag(max_steps=3, lora=LORA, min_angle=0.0, rotation_bank=45.0),
    "freedrag": FreeDrag(max_steps=6, lora=None),
    "sde_drag": SdeDrag(steps=4, t0=0.5, lora=LORA),
    "gooddrag": GoodDrag(drag_end_step=2, track_per_denoise=2, max_drag_per_track=1, lora=None),
    "fastdrag": FastDrag(),
    "dragnoise": DragNoise(max_steps=2, lora=None),
    "regiondrag": RegionDrag(steps=4, start_t=0.5),
    "draglora": DragLora(max_steps=2, lora=None, rank=4),
}


class Listener:
    """Notes everything it is told, and ends the edit when it has been told `patience` times of computing."""

    def __init__(self, patience: int | None = None) -> None:
        self.patience = patience
        self.phases: list[str] = []
        self.evaluations: Counter[str] = Counter()
        self.steps: list[tuple[int, int, float, np.ndarray | None]] = []

    def computing(self, phase: str, evaluations: int) -> None:
        self.phases.append(phase)
        self.evaluations[phase] = max(self.evaluations[phase], evaluations)
        if len(self.phases) == self.patience:
            raise EditCancelledError("cancelled by the test.")

    def stepped(self, step: int, limit: int, distance: float, handles: np.ndarray | None) -> None:
        self.steps.append((step, limit, distance, handles))


@pytest.fixture
def editor(golden_core):
    def make(name: str) -> Editor:
        editor = Editor(METHODS[name], BenchmarkConfig())
        editor.core = golden_core(num_inference_steps=4)
        return editor

    return make


@pytest.mark.parametrize("name", METHODS)
def test_an_observer_sees_every_evaluation_and_step_and_a_cancelled_edit_leaves_no_trace(editor, golden_sample, name):
    editor, sample = editor(name), golden_sample("cat").resized((64, 64))
    unobserved, record, _ = editor.edit(sample)
    listener = Listener()
    observed, observed_record, _ = editor.edit(sample, listener)
    np.testing.assert_array_equal(observed, unobserved)
    assert observed_record["trajectory"] == record["trajectory"]
    counted = {phase: calls for phase, calls in record["phase_unet_calls"].items() if calls}
    # An inversion and a LoRA that are remembered are charged and not computed.
    told = {phase: calls for phase, calls in listener.evaluations.items() if calls}
    assert told.items() <= counted.items()
    assert counted.keys() - told.keys() <= {"inversion", "lora"}
    assert listener.steps
    for step, limit, distance, handles in listener.steps:
        assert step >= 0 and limit >= 1 and distance >= 0
        assert handles is None or (handles.shape[1] == 2 and np.isfinite(handles).all())
    if name not in ("fastdrag", "freedrag", "regiondrag", "sde_drag"):
        handles = listener.steps[0][3]
        np.testing.assert_allclose(handles, record["trajectory"][0], atol=1e-9)

    told_in_all = len(listener.phases)
    for patience in (1, told_in_all // 2, told_in_all):
        with pytest.raises(EditCancelledError):
            editor.edit(sample, Listener(patience))
    again, _, _ = editor.edit(sample)
    np.testing.assert_array_equal(again, unobserved)
    assert editor.core.cost.observer is None
    assert editor.core.adapter_key is None
    assert not any("lora" in key for key, _ in editor.core.unet.named_parameters())


def test_an_edit_that_begins_anew_names_its_phases_in_order(editor, golden_sample):
    editor, listener = editor("dragdiffusion"), Listener()
    editor.edit(golden_sample("cat").resized((64, 64)), listener)
    order = list(dict.fromkeys(phase for phase in listener.phases if phase not in ("other", "encode", "decode")))
    assert order == ["lora", "inversion", "drag", "sampling"]
    assert listener.evaluations["lora"] == 2


def test_a_method_without_a_model_is_observed_too(golden_sample):
    listener = Listener()
    editor = Editor(Turn(), BenchmarkConfig())
    editor.edit(golden_sample("cat"), listener)
    assert set(listener.phases) == {"drag"}
    assert [step[0] for step in listener.steps] == [0]
    with pytest.raises(EditCancelledError):
        editor.edit(golden_sample("cat"), Listener(1))


def test_handles_are_told_in_pixels_of_the_sample(golden_core, golden_sample):
    editor = Editor(DragDiffusion(max_steps=1, lora=None), BenchmarkConfig())
    editor.core = golden_core(num_inference_steps=2, resolution=64)
    sample, listener = golden_sample("cat"), Listener()
    editor.edit(sample, listener)
    # Whole cells of a grid of 32 in a picture of 128 pixels are 4 pixels apart.
    assert np.abs(listener.steps[0][3] - sample.sources.xy).max() <= 2
