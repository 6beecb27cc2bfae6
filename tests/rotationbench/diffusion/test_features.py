from __future__ import annotations

import pytest
import torch

PROMPT = "a photo of a cat"


def test_features_stop_early_and_agree_with_a_whole_pass(golden_core, golden_sample):
    core = golden_core()
    image = core.image_tensor(golden_sample("cat").image)
    latents, context = core.encode(image), core.embed(PROMPT)
    seen = []
    handle = core.unet.conv_out.register_forward_hook(lambda *_: seen.append("end"))
    with torch.no_grad():
        for index, side in ((0, 2), (1, 4), (2, 8), (3, 16), (4, 16)):
            alone = core.features(latents, 301, context, index)
            assert not seen
            noise, together = core.noise_and_features(latents, 301, context, index)
            assert seen.pop() == "end"
            assert alone.shape[2:] == (side, side)
            torch.testing.assert_close(alone, together)
            torch.testing.assert_close(noise, core.noise(latents, 301, context))
            seen.clear()
    handle.remove()
    assert sum(phase.unet_calls for phase in core.cost.phases.values()) == 15
    assert not any(block._forward_hooks for block in core.unet.up_blocks)
    with pytest.raises(ValueError, match="0 to 4, got 5"):
        core.features(latents, 301, context, 5)
