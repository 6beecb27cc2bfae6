"""How good a checkpoint is, on objects that no training picture shows: one table, one JSON file, sample sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from tqdm import tqdm

from methods.dragdiffusion import DragDiffusion
from methods.rotationdrag import RotationDrag
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.dift import DiftSettings, correspond, dift_features
from rotationbench.diffusion.lora import LoraSettings
from rotationbench.files import write_json
from rotationbench.method import DragMethod
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample
from tools.minisd.autoencoder import PerceptualLoss
from tools.minisd.backgrounds import KINDS, all_words
from tools.minisd.compose import Composed, Placement, caption, compose, draw_object, random_placement
from tools.minisd.recipe import Composition, EvaluationRecipe, Recipe
from tools.minisd.sheets import write_sheet
from tools.minisd.sprites import HELD_OUT, Sprite, load_sprites, read_things, training_things

EVALUATION_SEED = 3_000_000
TURN = 60.0


@dataclass(frozen=True)
class Row:
    """One line of the table; `value` is None where nothing could be measured."""

    name: str
    value: float | None
    unit: str
    goal: str = ""


def evaluate(recipe: Recipe, assets: Path, checkpoint: Path, report: Path, device: str) -> list[Row]:
    """Measure the checkpoint, write `report/table.md`, `report/figures.json` and the sheets, and print the table."""
    settings = recipe.evaluation
    sprites = load_sprites(assets, read_things(HELD_OUT))
    core = StableDiffusion.from_pretrained(
        str(checkpoint),
        device=device,
        dtype="fp32",
        resolution=recipe.composition.side,
        num_inference_steps=settings.inference_steps,
    )
    seeds = [(recipe.seed + EVALUATION_SEED, index) for index in range(settings.compositions)]
    compositions = [compose(sprites, recipe.composition, seed) for seed in seeds]
    rows = [
        *autoencoder_rows(core, compositions),
        *inversion_rows(core, compositions[: settings.inversions], settings, report),
        *correspondence_rows(core, sprites, recipe),
        *dragging_rows(core, sprites, recipe, report),
    ]
    if settings.samples:
        names = [thing.name for thing in training_things(assets, recipe.composition.objects)]
        _write_samples(checkpoint, core.device, names, settings, report / "samples.png")
    write_json(report / "figures.json", [vars(row) for row in rows])
    table = as_table(rows)
    (report / "table.md").write_text(table, encoding="utf-8")
    print(table)
    return rows


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | measured | goal |", "| --- | --- | --- |"]
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:.3g} {row.unit}".strip()
        lines.append(f"| {row.name} | {value} | {row.goal} |")
    return "\n".join(lines) + "\n"


def psnr(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, per picture of `(B, 3, H, W)` in [0, 1]."""
    return -10 * torch.log10((first - second).square().mean((1, 2, 3)).clamp(min=1e-10))


# --- autoencoder and inversion --------------------------------------------------------------------------------------


@torch.no_grad()
def autoencoder_rows(core: StableDiffusion, compositions: Sequence[Composed]) -> list[Row]:
    """What the way through the posterior mean and back costs."""
    perceptual = PerceptualLoss().to(core.device)
    ratios, distances = [], []
    for composed in tqdm(compositions, desc="autoencoder"):
        image = core.image_tensor(composed.picture)
        decoded = core.decode(core.encode(image))
        ratios.append(psnr(decoded, image / 2 + 0.5).item())
        distances.append(perceptual(decoded * 2 - 1, image).item())
    count = len(compositions)
    return [
        Row(f"Autoencoder, {count} held-out pictures: PSNR", float(np.mean(ratios)), "dB", "≥ 27"),
        Row(f"Autoencoder, {count} held-out pictures: ST-LPIPS", float(np.mean(distances)), "", "≤ 0.05"),
    ]


@torch.no_grad()
def inversion_rows(
    core: StableDiffusion, compositions: Sequence[Composed], settings: EvaluationRecipe, report: Path
) -> list[Row]:
    """Inversion and sampling back without a drag, compared with the autoencoder's own reconstruction."""
    steps = core.actual_steps(settings.strength)
    ratios, pictures = [], []
    for composed in tqdm(compositions, desc="inversion"):
        image, context = core.image_tensor(composed.picture), core.embed(composed.caption)
        inverted = core.invert_image(image, composed.caption, steps)
        sampled = core.decode(core.sample_back(inverted, inverted, context, steps))
        reference = core.decode(core.encode(image))
        ratios.append(psnr(sampled, reference).item())
        pictures.append([composed.picture, _to_uint8(reference), _to_uint8(sampled)])
    shown = pictures[:12]
    write_sheet(report / "inversion.png", [row[kind] for kind in range(3) for row in shown], columns=len(shown))
    name = f"Inversion of {steps} of {core.num_inference_steps} steps and back, no LoRA: PSNR to the reconstruction"
    return [Row(name, float(np.mean(ratios)), "dB", "≥ 24")]


# --- correspondence -------------------------------------------------------------------------------------------------


def place_on(rng: np.random.Generator, sprite: Sprite, settings: Composition, angle: float | None) -> Composed:
    """The object on a random background at a random place; its turn is random too when `angle` is None."""
    kinds = [*settings.backgrounds]
    background, words = KINDS[kinds[rng.integers(len(kinds))]](rng, settings.side)
    placement = random_placement(rng, settings)
    if angle is not None:
        placement = replace(placement, angle=angle)
    return Composed(draw_object(background, sprite, placement), caption(sprite.thing.name, words), 0, placement)


def points_on(rng: np.random.Generator, sprite: Sprite, count: int) -> np.ndarray:
    """Random opaque pixels of the sprite, float64 `(count, 2)`, `(x, y)`."""
    rows, columns = np.nonzero(sprite.rgba[..., 3] > 0.9)
    chosen = rng.integers(len(rows), size=count)
    return np.column_stack([columns[chosen], rows[chosen]]).astype(np.float64)


def _mapped(points: np.ndarray, placement: Placement, sprite: Sprite) -> ImagePoints:
    """Points `(N, 2)` of the sprite where `placement` puts them in the picture."""
    matrix = placement.matrix(sprite.rgba.shape[0])
    return ImagePoints(points @ matrix[:, :2].T + matrix[:, 2])


def correspondence_rows(core: StableDiffusion, sprites: Sequence[Sprite], recipe: Recipe) -> list[Row]:
    """PCK@0.1 of diffusion features between two pictures of an object: share within 0.1 × the object's side."""
    settings = recipe.evaluation
    dift = DiftSettings(timestep=settings.dift_timestep, up_block=settings.dift_block, ensemble=settings.ensemble)
    found: dict[str, list[float]] = {"upright": [], "turned": [], "chance": []}
    for index in tqdm(range(settings.pairs), desc="correspondence"):
        rng = np.random.default_rng((recipe.seed + EVALUATION_SEED, 1, index))
        sprite = sprites[index % len(sprites)]
        first = place_on(rng, sprite, recipe.composition, angle=0.0)
        points = points_on(rng, sprite, 8)
        sources = _mapped(points, first.placement, sprite)
        features = dift_features(core, first.picture, dift)
        for name, angle in (("upright", 0.0), ("turned", TURN)):
            second = place_on(rng, sprite, recipe.composition, angle)
            targets = _mapped(points, second.placement, sprite)
            matched = correspond(features, dift_features(core, second.picture, dift), sources, first.picture.shape[:2])
            radius = 0.1 * second.placement.side
            found[name].extend(np.linalg.norm(matched.xy - targets.xy, axis=1) <= radius)
            if name == "upright":
                y, x = np.mgrid[: recipe.composition.side, : recipe.composition.side]
                found["chance"].extend(np.mean(np.hypot(x - px, y - py) <= radius) for px, py in targets.xy)
    chance = float(np.mean(found["chance"]))
    title = f"PCK@0.1, {settings.pairs} pairs of held-out objects"
    return [
        Row(f"{title}, other place and background", float(np.mean(found["upright"])), "", f"≥ {3 * chance:.3f}"),
        Row(f"{title}, one of them turned by {TURN:.0f}°", float(np.mean(found["turned"])), "", "clearly lower"),
        Row(f"{title}, chance", chance, ""),
    ]


# --- dragging -------------------------------------------------------------------------------------------------------


def rotation_sample(rng: np.random.Generator, sprite: Sprite, settings: Composition) -> DragSample:
    """A wanted turn of 20° to 60° about the object's centre, with the handle that is farthest out, and its result."""
    angle = float(rng.uniform(20, 60) * rng.choice([-1, 1]))
    background, words = KINDS["gradient"](rng, settings.side)
    side = settings.side * 0.6
    before = Placement((settings.side / 2, settings.side / 2), side, 0.0)
    after = replace(before, angle=angle)
    rows, columns = np.nonzero(sprite.rgba[..., 3] > 0.9)
    outline = np.column_stack([columns, rows]).astype(np.float64)
    middle = (sprite.rgba.shape[0] - 1) / 2
    distance = np.linalg.norm(outline - middle, axis=1)
    handle = outline[np.argmin(np.abs(distance - 0.85 * distance.max()))][None]
    black, covered = np.zeros((settings.side, settings.side, 3), np.float32), []
    silhouette = Sprite(sprite.thing, np.repeat(sprite.rgba[..., 3:], 4, axis=2))
    for placement in (before, after):
        covered.append(draw_object(black, silhouette, placement)[..., 0] > 64)
    mask = cv2.dilate((covered[0] | covered[1]).astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    pivot = [before.centre]
    return DragSample(
        name=f"{sprite.thing.codepoint}-{angle:+.0f}",
        image=draw_object(background, sprite, before),
        prompt=caption(sprite.thing.name, words),
        sources=ImagePoints(np.vstack([_mapped(handle, before, sprite).xy, pivot])),
        targets=ImagePoints(np.vstack([_mapped(handle, after, sprite).xy, pivot])),
        mask=mask,
        target=draw_object(background, sprite, after),
    )


def dragging_rows(core: StableDiffusion, sprites: Sequence[Sprite], recipe: Recipe, report: Path) -> list[Row]:
    """Mean distance of the handles to their targets after each method, and when nothing is edited."""
    settings = recipe.evaluation
    lora = LoraSettings(steps=settings.lora_steps) if settings.lora_steps else None
    methods: dict[str, DragMethod] = {
        "DragDiffusion": DragDiffusion(max_steps=settings.drag_steps, lora=lora),
        "RotationDrag": RotationDrag(max_steps=settings.drag_steps, lora=lora),
    }
    editors: dict[str, Callable[[DragSample], np.ndarray]] = {"nothing edited": lambda sample: sample.image}
    for name, method in methods.items():
        editors[name] = lambda sample, method=method: _to_uint8(method.edit(core, sample).edited)
    editors["exact result"] = lambda sample: sample.target if sample.target is not None else sample.image
    distances: dict[str, list[float]] = {name: [] for name in editors}
    columns = []
    for index in tqdm(range(settings.drags), desc="dragging"):
        rng = np.random.default_rng((recipe.seed + EVALUATION_SEED, 2, index))
        sample = rotation_sample(rng, sprites[int(rng.integers(len(sprites)))], recipe.composition)
        column = []
        for name, edit in editors.items():
            edited = edit(sample)
            column.append(edited)
            distances[name].append(handle_distance(core, sample, edited, settings))
        columns.append(column)
    if columns:
        pictures = [column[kind] for kind in range(len(editors)) for column in columns[:12]]
        write_sheet(report / "dragging.png", pictures, columns=min(12, len(columns)))
    title = f"Mean distance of {settings.drags} handles to their targets"
    return [Row(f"{title}, {name}", float(np.mean(values)), "px") for name, values in distances.items() if values]


def handle_distance(core: StableDiffusion, sample: DragSample, edited: np.ndarray, settings: EvaluationRecipe) -> float:
    """Distance in pixels between the targets and the places in `edited` that look most like the handles did."""
    dift = DiftSettings(timestep=settings.dift_timestep, up_block=settings.dift_block, ensemble=settings.ensemble)
    dragged = ~sample.is_pivot
    before, after = (dift_features(core, picture, dift) for picture in (sample.image, edited))
    found = correspond(before, after, sample.sources[dragged], sample.size)
    return float(np.linalg.norm(found.xy - sample.targets[dragged].xy, axis=1).mean())


# --- samples --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _write_samples(
    checkpoint: Path, device: torch.device, names: Sequence[str], settings: EvaluationRecipe, path: Path
) -> None:
    """A sheet of text-to-picture samples by the diffusers pipeline, each over its prompt."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(EVALUATION_SEED)
    words = [word for word in all_words() if "photograph" not in word]
    prompts = [caption(names[index % len(names)], words[rng.integers(len(words))]) for index in range(settings.samples)]
    pictures: list[np.ndarray] = []
    generator = torch.Generator().manual_seed(0)
    for first in range(0, len(prompts), 8):
        output = pipeline(
            prompts[first : first + 8],
            num_inference_steps=30,
            guidance_scale=settings.guidance,
            generator=generator,
            output_type="np",
        )
        pictures.extend((image * 255).round().astype(np.uint8) for image in output.images)
    write_sheet(path, pictures, columns=8, captions=prompts)


def _to_uint8(image: torch.Tensor) -> np.ndarray:
    """`(1, 3, H, W)` in [0, 1] to uint8 `(H, W, 3)`."""
    return (image[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
