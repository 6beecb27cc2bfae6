from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tests_helpers import (
    COARSE_LATENT_TOLERANCE,
    assert_agrees,
    compose_config,
    evaluations,
    recorded_evaluations,
)

from methods.region_mapping import Mapping
from methods.regiondrag import RegionDrag, blur, last_of_each, outline
from rotationbench.config import build_method
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints
from rotationbench.sample import Regions


@pytest.mark.parametrize("recording", ["cat_regiondrag", "rocket_regiondrag", "cat_regiondrag_ode"])
@pytest.mark.parametrize("attention", ["unfused", "sdpa"])
def test_reproduces_the_released_program(golden_core, golden_sample, golden_recording, recording, attention):
    expected, options = golden_recording(recording)
    core = golden_core(dtype="fp64", attention=attention)
    settings = {name: options[name] for name in ("steps", "start_t", "end_t", "noise_scale", "method")}
    method = RegionDrag(**settings, mapping=Mapping(**options["mapping"]), variant="released")
    assert method.paste_limit(1000) == options["paste_from_timestep"]
    result = method.edit(core, golden_sample(recording.split("_")[0]), seed=options["seed"])

    assert_agrees(
        result,
        expected,
        latents=("init_latent", "inverted", "latents"),
        trajectory=False,
        tolerance=COARSE_LATENT_TOLERANCE,
    )
    for key in ("source", "target", "preview"):
        if key in expected:
            assert result.trace[key].numpy().dtype == expected[key].dtype
            np.testing.assert_array_equal(result.trace[key].numpy(), expected[key])
    # Truncation turns a difference of rounding into one of a level.
    assert np.abs(result.trace["image"].numpy().astype(int) - expected["image"]).max() <= 1
    assert evaluations(core) == recorded_evaluations(expected)


def small(sample, size=(64, 64)):
    """The lower right corner, without a mask, turned by a right angle about its middle."""
    height, width = size
    return replace(
        sample,
        image=sample.image[-height:, -width:].copy(),
        mask=None,
        sources=ImagePoints.of([(width // 2, height // 2), (width // 2 + 16, height // 2)]),
        targets=ImagePoints.of([(width // 2, height // 2), (width // 2, height // 2 + 16)]),
    )


def few(**settings) -> RegionDrag:
    return RegionDrag(**({"steps": 6} | settings))


def test_the_picture_turns_with_the_handle(golden_core, golden_sample):
    result = few().edit(golden_core(), small(golden_sample("cat")))
    # From (48, 32) to (32, 48): the cells that hold them are half a cell off.
    assert np.abs(result.trajectory[-1].rc - result.targets.rc).max() <= 4
    assert len(result.targets) == 1
    assert (result.steps, result.converged) == (3, None)
    assert torch.isfinite(result.trace["latents"]).all()


def test_seeds_decide_and_the_default_is_the_released_one(golden_core, golden_sample):
    sample = small(golden_sample("cat"))
    default = few().edit(golden_core(), sample)
    assert torch.equal(default.edited, few().edit(golden_core(), sample, seed=42).edited)
    assert not torch.equal(default.edited, few().edit(golden_core(), sample, seed=0).edited)


def test_cells_are_pasted_down_to_the_limit(golden_core, golden_sample):
    sample = small(golden_sample("cat"))
    # The timesteps of the way back are 498, 332 and 166.
    late, early, never = (
        few(end_t=end_t, noise_scale=0.0).edit(golden_core(), sample).trace["latents"] for end_t in (0.1, 0.4, 10.0)
    )
    assert not torch.allclose(late, early) and not torch.allclose(early, never)
    # What is never pasted and never noised does not depend on where it would go.
    elsewhere = few(end_t=10.0, noise_scale=0.0, mapping=Mapping(angle=50.0)).edit(golden_core(), sample)
    torch.testing.assert_close(elsewhere.trace["latents"], never)


def test_where_the_limit_lies():
    assert RegionDrag().paste_limit(1000) == 200
    assert RegionDrag(variant="released").paste_limit(1000) == 4
    assert RegionDrag(paste_from_timestep=77).paste_limit(1000) == 77
    assert RegionDrag(steps=100, start_t=0.29).levels == 29


def test_outside_the_mask_the_kept_latents_stay(golden_core, golden_sample):
    """What the mask holds comes back as an edit without any drag would have it, up to what attention sees."""
    sample = small(golden_sample("cat"))
    mask = np.zeros(sample.size, dtype=bool)
    mask[16:48, 16:48] = True
    picture = few().edit(golden_core(), replace(sample, mask=mask)).trace["image"].numpy()
    np.testing.assert_array_equal(picture[~mask], sample.image[~mask])
    assert not np.array_equal(picture[mask], sample.image[mask])
    empty = few().edit(golden_core(), replace(sample, mask=np.zeros_like(mask)))
    without = few().edit(golden_core(), sample)
    assert torch.equal(empty.edited, without.edited)


@pytest.mark.parametrize("method", ["Encode then CP", "CP then Encode"])
def test_nothing_to_map_is_said_and_moves_nothing(golden_core, golden_sample, caplog, method):
    sample = small(golden_sample("cat"))
    nowhere = replace(sample, mask=np.eye(64, dtype=bool) & (np.arange(64) % 8 == 3))
    result = few(method=method).edit(golden_core(), nowhere)
    assert "nothing is mapped" in caplog.text
    assert len(result.trace["source"]) == 0
    assert torch.equal(result.trajectory[0].rc, result.trajectory[-1].rc)
    assert torch.isfinite(result.edited).all()


def test_only_a_pivot_pair_moves_nothing(golden_core, golden_sample):
    sample = small(golden_sample("cat"))
    result = few().edit(golden_core(), replace(sample, targets=sample.sources))
    assert torch.equal(result.trace["source"], result.trace["target"])
    assert len(result.targets) == 0


def test_a_sample_with_regions_of_its_own(golden_core, golden_sample):
    sample = small(golden_sample("cat"))
    pairs = ImagePoints.of([(8, 8), (16, 8)]), ImagePoints.of([(40, 40), (48, 40)])
    result = few().edit(golden_core(), replace(sample, regions=Regions(pairs=pairs, cell=(8, 8))))
    assert result.trace["source"].tolist() == [[8, 8], [16, 8]]
    assert result.trace["target"].tolist() == [[40, 40], [48, 40]]


@pytest.mark.parametrize("method", ["Encode then CP", "CP then Encode"])
@pytest.mark.parametrize(("source", "target"), [((0, 0), (95, 63)), ((95, 63), (0, 63)), ((95, 0), (90, 40))])
def test_points_at_the_border_of_a_picture_that_is_not_square(golden_core, golden_sample, method, source, target):
    sample = small(golden_sample("cat"), (64, 96))
    wide = replace(
        sample,
        sources=ImagePoints.of([(40, 24), source, (48, 32)]),
        targets=ImagePoints.of([(40, 24), target, (60, 32)]),
    )
    result = few(method=method).edit(golden_core(), wide)
    assert result.edited.shape == (1, 3, 64, 96)
    assert torch.isfinite(result.trace["latents"]).all()
    ends = result.trajectory[-1].rc
    assert len(ends) == 2 and (ends >= 0).all() and (ends[:, 0] < 32).all() and (ends[:, 1] < 48).all()


def test_of_repeated_cells_the_last_counts():
    cells = np.array([[3, 1], [0, 2], [3, 1], [1, 3], [0, 2], [3, 1]])
    assert last_of_each(cells).tolist() == [3, 4, 5]
    latents = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    blurred = blur(latents, cells, 0.6, torch.Generator().manual_seed(4))
    noise = torch.randn(4, 6, generator=torch.Generator().manual_seed(4))
    expected = latents.clone()
    for index, (x, y) in ((3, (1, 3)), (4, (0, 2)), (5, (3, 1))):
        expected[0, :, y, x] = 0.8 * latents[0, :, y, x] + 0.6 * noise[:, index]
    torch.testing.assert_close(blurred, expected)
    for scale in (1.0, 1.5):
        only_noise = blur(latents, cells[:1], scale, torch.Generator().manual_seed(4))
        torch.testing.assert_close(
            only_noise[0, :, 1, 3], scale * torch.randn(4, 1, generator=torch.Generator().manual_seed(4))[:, 0]
        )


def test_the_outline_has_the_corners_of_every_part():
    cells = np.array([(x, y) for y in range(2, 6) for x in range(3, 9)] + [(12, 1)])
    assert sorted(map(tuple, outline(cells).tolist())) == [(3, 2), (3, 5), (8, 2), (8, 5), (12, 1)]


def test_corners_can_be_set_on_the_command_line():
    config = compose_config(
        "method=regiondrag",
        "method.method='CP then Encode'",
        "method.mapping.kind=polygon",
        "method.mapping.source=[[8,8],[24,8],[8.5,40]]",
        "method.mapping.target=[[16,16],[48,16],[16,48]]",
    )
    method = build_method(OmegaConf.to_container(config.method, resolve=True))
    assert method.method == "CP then Encode"
    assert method.mapping.source == [[8, 8], [24, 8], [8.5, 40]]
    assert build_method(OmegaConf.to_container(compose_config("method=regiondrag").method)) == RegionDrag()


@pytest.mark.parametrize(
    "setting",
    [
        {"steps": 1},
        {"start_t": 0.0},
        {"start_t": 1.0},
        {"start_t": 0.01},
        {"end_t": -0.1},
        {"noise_scale": -1.0},
        {"method": "paste"},
        {"variant": "any"},
    ],
)
def test_bad_settings_are_named(setting):
    with pytest.raises(ConfigError, match=f"method.{next(iter(setting))}"):
        RegionDrag(**setting)
