"""The recipe of the embedded model, on synthetic objects: no network, no npm package, a model of toy size."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import tarfile

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from rotationbench.errors import CheckpointError, ConfigError, DatasetError, MissingWeightsError
from tools.minisd import __main__ as command
from tools.minisd import sprites as sprites_module
from tools.minisd.autoencoder import build_autoencoder, reconstruct, train_autoencoder
from tools.minisd.backgrounds import KINDS
from tools.minisd.compose import ComposedPictures, Placement, compose, draw_object, to_picture, to_tensor
from tools.minisd.denoiser import draw_batch, fill_bank, open_bank, snr_weights, train_denoiser
from tools.minisd.evaluate import Row, as_table, write_pictures
from tools.minisd.export import export
from tools.minisd.recipe import (
    AutoencoderRecipe,
    Composition,
    DenoiserRecipe,
    EvaluationRecipe,
    Recipe,
    load_recipe,
)
from tools.minisd.rotations import rotation_samples
from tools.minisd.sprites import (
    HELD_OUT,
    PLAIN,
    Sprite,
    Thing,
    all_things,
    fetch,
    load_sprites,
    read_things,
    training_things,
)
from tools.minisd.start import start_run
from tools.minisd.tokenizer import build_tokenizer
from tools.minisd.training import Training

CPU = torch.device("cpu")


def half_disc(colour: tuple[float, float, float], side: int = 40) -> np.ndarray:
    """The upper half of a disc, RGB multiplied by alpha, float32 `(side, side, 4)`."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = ((np.hypot(x, y) < side / 2) & (y < 0)).astype(np.float32)
    return np.dstack([*(alpha * channel for channel in colour), alpha]).astype(np.float32)


@pytest.fixture(scope="module")
def sprites() -> list[Sprite]:
    colours = {"red apple": (0.9, 0.2, 0.1), "blue egg": (0.1, 0.3, 0.9), "green hat": (0.1, 0.8, 0.2)}
    return [
        Sprite(Thing(f"1f9{index:02x}", "thing", name), half_disc(colour))
        for index, (name, colour) in enumerate(colours.items())
    ]


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(
        composition=Composition(side=32),
        autoencoder=AutoencoderRecipe(
            channels=(8, 8, 16), norm_groups=1, crop=16, batch=2, steps=2, perceptual_weight=0.0
        ),
        denoiser=DenoiserRecipe(
            channels=(8, 8, 16, 16),
            norm_groups=4,
            text_width=16,
            text_layers=1,
            vocabulary=560,
            bank=8,
            batch=2,
            steps=4,
        ),
        evaluation=EvaluationRecipe(ensemble=1),
        save_every=2,
        sheet_every=100,
    )


@pytest.fixture
def assets(tmp_path):
    """A folder of pictures as the npm package has it: one plain object, one that is held out, and one of two points."""
    folder = tmp_path / "assets"
    folder.mkdir()
    straight = half_disc((1.0, 0.5, 0.0))
    straight[..., :3] = np.float32([1.0, 0.5, 0.0])
    picture = Image.fromarray((straight * 255).astype(np.uint8), "RGBA")
    for stem in ("1f528", "270f-fe0f", "2708-fe0f", "1f527", "1f44d-1f3fb", "1f600"):
        picture.save(folder / f"{stem}.webp", lossless=True)
    return folder


# --- objects --------------------------------------------------------------------------------------------------------


def test_the_lists_are_sound_and_disjoint():
    held_out, plain = read_things(HELD_OUT), read_things(PLAIN)
    assert len(held_out) >= 60
    assert {thing.codepoint for thing in held_out}.isdisjoint(thing.codepoint for thing in plain)
    for things in (held_out, plain):
        assert len({thing.codepoint for thing in things}) == len({thing.name for thing in things}) == len(things)


@pytest.mark.parametrize("objects", ["few", "plain", "all"])
def test_held_out_objects_are_never_trained_on(assets, objects):
    codepoints = {thing.codepoint for thing in training_things(assets, objects)}
    assert ("270f" if objects == "few" else "2708") in codepoints
    assert "1f527" not in codepoints


def test_all_things_leave_out_faces_and_joined_codepoints(assets):
    assert {thing.codepoint: thing.name for thing in all_things(assets)} == {
        "1f528": "hammer",
        "270f": "pencil",
        "2708": "airplane",
        "1f527": "wrench",
    }


def test_sprites_are_cropped_square_with_alpha_multiplied_in(assets):
    (sprite,) = load_sprites(assets, [Thing("2708", "vehicle", "airplane")])
    height, width, _ = sprite.rgba.shape
    assert height == width == 40
    opaque = sprite.rgba[..., 3] > 0.5
    # The half disc is wider than tall: the square holds transparent rows above and below it.
    assert not opaque[:8].any() and not opaque[-8:].any() and opaque[20].any()
    np.testing.assert_allclose(sprite.rgba[~opaque], 0)
    np.testing.assert_allclose(sprite.rgba[opaque][:, :3], np.tile([1.0, 0.5, 0.0], (opaque.sum(), 1)), atol=0.01)


def test_missing_and_malformed_objects_are_named(assets, tmp_path):
    with pytest.raises(DatasetError, match=r"1f681\.webp.*helicopter"):
        load_sprites(assets, [Thing("1f681", "vehicle", "helicopter")])
    listing = tmp_path / "list.txt"
    listing.write_text("# comment\n1f528\ttool\thammer\nhammer\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="line 3: expected codepoint"):
        read_things(listing)


def test_the_package_is_fetched_once_and_checked(tmp_path, monkeypatch, assets):
    calls = []

    def pack(command: list[str], **_: object) -> None:
        calls.append(command)
        with tarfile.open(f"{command[-1]}/package.tgz", "w:gz") as archive:
            archive.add(assets, "package/assets")

    monkeypatch.setattr(subprocess, "run", pack)
    with pytest.raises(DatasetError, match="expected SHA-256"):
        fetch(tmp_path / "cache")

    def trusted(data: bytes) -> object:
        return type("Digest", (), {"hexdigest": lambda self: sprites_module.ARCHIVE_SHA256})()

    monkeypatch.setattr(hashlib, "sha256", trusted)
    folder = fetch(tmp_path / "cache")
    assert (folder / "1f528.webp").is_file()
    assert fetch(tmp_path / "cache") == folder
    assert len(calls) == 2


def test_a_missing_npm_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="npm pack"):
        fetch(tmp_path / "cache")


# --- composition ----------------------------------------------------------------------------------------------------


def test_a_seed_stands_for_one_picture(sprites):
    settings = Composition(side=48)
    first, again, other = (compose(sprites, settings, (7, index)) for index in (3, 3, 4))
    np.testing.assert_array_equal(first.picture, again.picture)
    assert first.caption == again.caption
    assert (first.picture != other.picture).any()


def test_in_domain_pictures_are_written_as_files(assets, tmp_path):
    recipe = Recipe(composition=Composition(side=32, objects="all"), evaluation=EvaluationRecipe(compositions=3))
    paths = write_pictures(recipe, assets, tmp_path / "pictures")
    assert sorted((tmp_path / "pictures").iterdir()) == paths and len(paths) == 3
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert {picture.shape for picture in pictures} == {(32, 32, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 3
    again = write_pictures(recipe, assets, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_captions_name_object_and_background(sprites):
    captions = [compose(sprites, Composition(side=32), (0, index)).caption for index in range(40)]
    for index, words in enumerate(captions):
        name = sprites[compose(sprites, Composition(side=32), (0, index)).sprite].thing.name
        assert words.startswith(f"a {name} ")
    assert len({words.split(" ", 3)[3] for words in captions}) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_backgrounds_are_pictures(kind):
    background, words = KINDS[kind](np.random.default_rng(1), 40)
    assert background.shape == (40, 40, 3) and background.dtype == np.float32
    assert background.min() >= 0 and background.max() <= 1
    assert words.split()[0] in {"on", "in", "at"}


def test_an_object_stands_where_its_matrix_says(sprites):
    white = np.ones((80, 80, 3), np.float32)
    placement = Placement((45.0, 35.0), 40.0, 90.0)
    picture = draw_object(white, sprites[0], placement)
    rows, columns = np.nonzero((picture < 200).any(axis=2))
    # Turned by 90° from +x to +y, the upper half of the disc is its right half.
    assert columns.min() >= 44 and columns.max() >= 62 and rows.min() <= 17 and rows.max() >= 52
    matrix = placement.matrix(40)
    np.testing.assert_allclose(matrix @ [19.5, 19.5, 1], [45, 35], atol=1e-9)
    np.testing.assert_allclose(matrix @ [19.5, 9.5, 1], [55, 35], atol=1e-9)


def test_four_in_five_objects_are_upright(sprites):
    settings = Composition(side=32, backgrounds={"plain": 1.0})
    angles = np.array([compose(sprites, settings, (1, index)).placement.angle for index in range(400)])
    # Of the objects that may turn by 60°, a fifth turn by less than 12° all the same.
    assert np.mean(np.abs(angles) <= 12) == pytest.approx(0.8 + 0.2 * 12 / 60, abs=0.06)
    assert np.abs(angles).max() <= 60


def test_whole_objects_stay_inside_at_every_turn(sprites):
    settings = Composition(side=64, scale=(0.5, 0.7), whole=True)
    for index in range(60):
        placement = compose(sprites, settings, (1, index)).placement
        reach = placement.side / np.sqrt(2)
        for coordinate in placement.centre:
            assert reach - 1e-6 <= coordinate <= 64 - reach + 1e-6


def test_rotation_samples_end_where_the_pivot_and_the_angle_lead(sprites):
    settings = Composition(side=128, scale=(0.5, 0.7), whole=True)
    samples, again = (rotation_samples(sprites, settings, 6, seed=(5,), split="in_domain") for _ in range(2))
    assert [sample.digest for sample in samples] == [sample.digest for sample in again]
    for sample in samples:
        assert sample.is_pivot.tolist() == [False, False, True]
        radians = np.deg2rad(sample.meta.angle)
        turn = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
        led = (sample.sources.xy - sample.meta.pivot) @ turn + sample.meta.pivot
        assert np.abs(led - sample.targets.xy).max() < 1.5
        assert 20 <= abs(sample.meta.angle) <= 60
        changed = np.abs(sample.image.astype(int) - sample.target.astype(int)).max(axis=2) > 4
        assert changed.any() and sample.mask[changed].all()
        for x, y in sample.sources.xy[:2].astype(int):
            assert sample.meta.object_mask[y, x]


def test_pictures_survive_the_way_to_tensors(sprites):
    picture = compose(sprites, Composition(side=32), (0, 0)).picture
    np.testing.assert_array_equal(to_picture(to_tensor(picture)), picture)
    tensor, _ = ComposedPictures(sprites, Composition(side=32), seed=0, count=1)[0]
    np.testing.assert_array_equal(to_picture(tensor), picture)
    crop, _ = ComposedPictures(sprites, Composition(side=32), seed=0, count=1, crop=16)[0]
    assert crop.shape == (3, 16, 16)


# --- recipe and parts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_presets_load(preset):
    recipe = load_recipe(preset, ["seed=3"])
    assert recipe.seed == 3
    assert recipe.factor == 8
    grounds = {"cpu": {"plain", "gradient"}, "gpu": {"plain", "gradient", "scene", "texture", "photo"}}
    assert set(recipe.composition.backgrounds) == grounds[preset]


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("tpu", "seed=1", "no such preset"),
        ("cpu", "sead=1", "sead"),
        ("cpu", "seed=often", "seed"),
        ("cpu", "composition.side=100", "composition.side"),
        ("cpu", "composition.objects=some", "few, plain or all"),
    ],
)
def test_wrong_settings_are_refused(preset, override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(preset, [override])


def test_the_command_reports_wrong_settings(tmp_path, capsys):
    assert command.main(["fetch", "--preset", "tpu", "--cache", str(tmp_path)]) == 2
    assert "no such preset" in capsys.readouterr().err


def test_tokenizer_follows_clip():
    tokenizer = build_tokenizer(["elephant", "red apple"], 600)
    tokens = tokenizer("A red ELEPHANT, and a zebra", padding="max_length", max_length=77)["input_ids"]
    assert len(tokens) == 77
    assert tokens[0] == tokenizer.bos_token_id == len(tokenizer) - 2
    assert tokens[-1] == tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.decode(tokens, skip_special_tokens=True) == "a red elephant , and a zebra"
    assert "red</w>" in tokenizer.get_vocab()


def test_an_untrained_autoencoder_keeps_the_colours():
    torch.manual_seed(0)
    model = build_autoencoder(AutoencoderRecipe(), side=64).eval()
    colours = torch.tensor([[0.6, -0.4, 0.2], [-0.5, 0.5, 0.0]]).view(2, 3, 1, 1).expand(2, 3, 64, 64)
    decoded = reconstruct(model, colours)[..., 16:-16, 16:-16].mean((2, 3))
    direction = torch.nn.functional.cosine_similarity(decoded, colours[..., 0, 0])
    assert (direction > 0.85).all()


def test_snr_weights_have_their_formula():
    alphas = torch.tensor([0.99, 0.5, 0.1])
    torch.testing.assert_close(snr_weights(alphas, 5.0), torch.tensor([5 / 99, 1.0, 1.0]))
    torch.testing.assert_close(snr_weights(alphas, 0.0), torch.ones(3))


def test_rates_rise_stay_and_fall_and_weights_are_averaged(recipe, tmp_path):
    settings = dataclasses.replace(recipe.denoiser, learning_rate=1.0, warmup=2, decay=4, steps=10, ema=0.5)
    recipe = dataclasses.replace(recipe, denoiser=settings, save_every=5)
    model = torch.nn.Linear(1, 1, bias=False)
    training = Training(recipe, "denoiser", model, tmp_path)
    rates, weights, averages = [], [], []
    while not training.ended:
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.update(model(torch.ones(1, 1)).square().mean())
        weights.append(model.weight.item())
        with training.averaged():
            averages.append(model.weight.item())
        assert model.weight.item() == weights[-1]
        if training.step == 5:
            training = Training(recipe, "denoiser", model, tmp_path)
            assert training.step == 5
    assert rates == pytest.approx([0.02, 0.51, 1, 1, 1, 1, 1, 0.755, 0.51, 0.265])
    expected = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert averages[step] == pytest.approx(expected, rel=1e-5)


def test_table_shows_what_was_not_measured():
    table = as_table([Row("PSNR", 27.456, "dB", "≥ 27"), Row("PCK", None, "")])
    assert "| PSNR | 27.5 dB | ≥ 27 |" in table and "| PCK | not measured |  |" in table
    row = Row.of("MD", np.arange(40.0), "px", statistic=np.median)
    assert row.value == 19.5 and 8 < row.low < 19.5 < row.high < 31
    assert f"| MD | 19.5 px ({row.low:.3g} to {row.high:.3g}) |  |" in as_table([row])
    assert Row.of("MD", [], "px").value is None and Row.of("MD", [3.0], "px").low is None


# --- end to end -----------------------------------------------------------------------------------------------------


def with_steps(recipe: Recipe, autoencoder: int, denoiser: int) -> Recipe:
    """The recipe, ended early as an interruption would."""
    return dataclasses.replace(
        recipe,
        autoencoder=dataclasses.replace(recipe.autoencoder, steps=autoencoder, decay=0),
        denoiser=dataclasses.replace(recipe.denoiser, steps=denoiser, decay=0),
    )


def weights(path) -> list[torch.Tensor]:
    return torch.load(path, weights_only=True)["average"]["shadow_params"]


def test_an_interrupted_training_resumes_to_the_same_model(recipe, sprites, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    complete = with_steps(recipe, autoencoder=4, denoiser=4)
    for run, stages in ((whole, [complete]), (parts, [with_steps(recipe, 2, 2), complete])):
        for stage in stages:
            train_autoencoder(stage, sprites, run, CPU)
        fill_bank(complete, sprites, run, CPU)
        for stage in stages:
            train_denoiser(stage, sprites, run, CPU)
    for name in ("autoencoder.pt", "denoiser.pt"):
        torch.testing.assert_close(weights(parts / name), weights(whole / name), rtol=0, atol=0)


@pytest.mark.slow
def test_a_compiled_training_learns_the_same(recipe, sprites, tmp_path):
    recipe = with_steps(recipe, autoencoder=2, denoiser=2)
    for run, compiled in ((tmp_path / "plain", False), (tmp_path / "compiled", True)):
        settings = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, compile=compiled))
        train_autoencoder(settings, sprites, run, CPU)
        fill_bank(settings, sprites, run, CPU)
        train_denoiser(settings, sprites, run, CPU)
    # AdamW divides by the gradient's size, so that rounding shows in weights whose gradient is next to nothing.
    pairs = zip(
        weights(tmp_path / "compiled" / "denoiser.pt"), weights(tmp_path / "plain" / "denoiser.pt"), strict=True
    )
    for compiled, plain in pairs:
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4)


def test_a_trained_model_is_exported_as_a_pipeline(recipe, sprites, tmp_path):
    recipe = dataclasses.replace(recipe, sheet_every=4)
    run, folder = tmp_path / "run", tmp_path / "checkpoint"
    with pytest.raises(CheckpointError, match="latents"):
        open_bank(run)
    train_autoencoder(recipe, sprites, run, CPU)
    fill_bank(recipe, sprites, run, CPU)
    stored = open_bank(run).latents.copy()
    fill_bank(recipe, sprites, run, CPU)
    bank = open_bank(run)
    assert np.array_equal(bank.latents, stored)
    assert bank.latents.shape == (8, 4, 8, 8)
    assert bank.latents.astype(np.float32).std() * bank.scaling_factor == pytest.approx(1, rel=1e-3)
    clean, captions, noise, timesteps = draw_batch(bank, recipe.denoiser, seed=0, step=5, crop=8)
    assert clean.shape == noise.shape == (2, 4, 8, 8) and len(captions) == len(timesteps) == 2
    train_denoiser(recipe, sprites, run, CPU)
    assert (run / "sheets" / "denoiser-000004.png").is_file()
    wider = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, text_width=32))
    with pytest.raises(CheckpointError, match="text_width"):
        train_denoiser(wider, sprites, run, CPU)

    export(recipe, sprites, run, folder)
    export(recipe, sprites, run, folder)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".minisd")]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Fluent Emoji, MIT licence" in card and "blue egg, green hat, red apple" in card and "up to 60°" in card
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline("a red apple in the snow", num_inference_steps=2, output_type="np").images
    assert picture.shape == (32, 32, 3) and np.isfinite(picture).all()
    assert CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True).model_max_length == 77


def test_a_run_starts_from_a_checkpoint_of_more_objects(recipe, sprites, tmp_path):
    first, run, folder = tmp_path / "first", tmp_path / "run", tmp_path / "checkpoint"
    train_autoencoder(recipe, sprites, first, CPU)
    fill_bank(recipe, sprites, first, CPU)
    train_denoiser(recipe, sprites, first, CPU)
    export(recipe, sprites, first, folder)

    narrower = sprites[:1]
    start_run(recipe, folder, run)
    for name in ("autoencoder.pt", "denoiser.pt"):
        # The checkpoint between the two is in float16.
        torch.testing.assert_close(weights(run / name), weights(first / name), rtol=1e-3, atol=1e-3)
    fill_bank(recipe, narrower, run, CPU)
    train_denoiser(recipe, narrower, run, CPU)
    export(recipe, narrower, run, tmp_path / "narrower")
    card = (tmp_path / "narrower" / "README.md").read_text(encoding="utf-8")
    assert "from the weights of an earlier checkpoint" in card
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "narrower" / "tokenizer" / name).read_text() == (folder / "tokenizer" / name).read_text()
    with pytest.raises(CheckpointError, match="state already"):
        start_run(recipe, folder, run)
    wider = dataclasses.replace(recipe, denoiser=dataclasses.replace(recipe.denoiser, channels=(8, 8, 16, 32)))
    with pytest.raises(CheckpointError, match="not of the recipe's shape"):
        start_run(wider, folder, tmp_path / "wider")
