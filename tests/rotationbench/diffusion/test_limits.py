from __future__ import annotations

import time

import pytest

from rotationbench.diffusion.limits import MAX_PIXELS, MAX_PROMPT_BYTES, check_model_limits, check_prompt, working_size
from rotationbench.errors import ConfigError


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((128, 256), 64, (64, 128)),
        ((100, 150), 512, (512, 768)),
        ((5, 300), None, (8, 304)),
        ((99, 131), None, (96, 128)),
    ],
)
def test_sizes_keep_the_aspect_and_have_whole_cells(size, resolution, expected):
    assert working_size(size, resolution, cell=8) == expected


def test_kind_33_an_area_that_is_too_large_is_refused():
    message = r"model.max_pixels: expected pictures of at most 4194304 pixels, got 32 × 4096, which "
    with pytest.raises(ConfigError, match=message + r"model.resolution=512 makes 512 × 65536"):
        working_size((32, 4096), 512)
    with pytest.raises(ConfigError, match=r"model.resolution=null makes 4000 × 3000"):
        working_size((4000, 3000), None)
    assert working_size((4000, 3000), 1024) == (1365, 1024)
    assert working_size((2048, 2048), None) == (2048, 2048) and MAX_PIXELS == 2048**2
    with pytest.raises(ConfigError, match="at most 1024 pixels"):
        working_size((64, 64), None, max_pixels=1024)


def test_kind_33_the_core_refuses_the_area_and_the_prompt(golden_core):
    core = golden_core(resolution=128, max_pixels=128 * 256)
    assert core.working_size((64, 128)) == (128, 256)
    with pytest.raises(ConfigError, match=r"model.max_pixels"):
        core.working_size((64, 129 + 8))
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=r"prompt: expected at most 65536 bytes, got 20000000"):
        core.embed("a" * 20_000_000)
    assert time.perf_counter() - started < 5


def test_prompts_are_measured_in_bytes():
    check_prompt("é" * (MAX_PROMPT_BYTES // 2))
    with pytest.raises(ConfigError, match="got 65538"):
        check_prompt("é" * (MAX_PROMPT_BYTES // 2 + 1))


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ((0, 50, 4096), "resolution"),
        ((31, 50, 4096), "resolution"),
        ((None, 0, 4096), "num_inference_steps"),
        ((None, 1001, 4096), "num_inference_steps"),
        ((None, 50, 0), "max_pixels"),
    ],
)
def test_kind_16_limits_of_a_model(values, key):
    check_model_limits(None, 50, 4096)
    check_model_limits(32, 1000, MAX_PIXELS)
    with pytest.raises(ConfigError, match=f"model.{key}: expected"):
        check_model_limits(*values)
