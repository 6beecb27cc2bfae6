"""How good a checkpoint is, on new placements of trained objects (in-domain) and on held-out objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from scipy.stats import bootstrap
from tqdm import tqdm

from evaluation.suite import MetricSuite
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.dift import DiftSettings, correspond, dift_features
from rotationbench.files import write_image, write_json
from tools.minisd.autoencoder import PerceptualLoss
from tools.minisd.backgrounds import KINDS
from tools.minisd.compose import Composed, caption, compose, draw_object, random_placement
from tools.minisd.drags import METHODS, METRICS, Editor, Setting, measure, search
from tools.minisd.recipe import Composition, EvaluationRecipe, Recipe
from tools.minisd.rotations import on_picture, rotation_samples
from tools.minisd.sheets import write_sheet
from tools.minisd.sprites import HELD_OUT, Sprite, load_sprites, read_things, training_things

EVALUATION_SEED = 3_000_000
TURN = 60.0


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what was measured.
        value: a mean or a median over samples; None where nothing could be measured.
        unit: such as `"dB"`.
        goal: what is aimed at.
        low, high: ends of the 95 % bootstrap interval over the samples; None where there is none.
    """

    name: str
    value: float | None
    unit: str
    goal: str = ""
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        values: Sequence[float] | np.ndarray,
        unit: str,
        goal: str = "",
        statistic: Callable[..., np.ndarray] = np.mean,
    ) -> Row:
        """The statistic of `values`, one per sample, with its interval."""
        if len(values) < 2 or np.ptp(values) == 0:
            return cls(name, float(statistic(values)) if len(values) else None, unit, goal)
        interval = bootstrap(
            (np.asarray(values),), statistic, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        return cls(name, float(statistic(values)), unit, goal, float(interval.low), float(interval.high))


def load_core(recipe: Recipe, checkpoint: Path, device: str) -> StableDiffusion:
    """The checkpoint as the core, at the size that it was trained on."""
    return StableDiffusion.from_pretrained(
        str(checkpoint),
        device=device,
        dtype="fp32",
        resolution=recipe.composition.side,
        num_inference_steps=recipe.evaluation.inference_steps,
    )


def metric_suite(settings: EvaluationRecipe) -> MetricSuite:
    """The metrics of drags, by the recipe's features."""
    dift = {"timestep": settings.dift_timestep, "up_block": settings.dift_block, "ensemble": settings.ensemble}
    return MetricSuite(METRICS, dift=dift | {"resolution": settings.dift_resolution})


def search_settings(recipe: Recipe, assets: Path, checkpoint: Path, report: Path, device: str) -> Setting:
    """Search the drags' settings on in-domain samples that serve nothing else, and print the best."""
    sprites = load_sprites(assets, training_things(assets, recipe.composition.objects))
    seed = (recipe.seed + EVALUATION_SEED, 3)
    samples = rotation_samples(sprites, recipe.composition, recipe.evaluation.search, seed)
    best = search(load_core(recipe, checkpoint, device), samples, metric_suite(recipe.evaluation), report)
    print(best)
    return best


def evaluate(recipe: Recipe, assets: Path, checkpoint: Path, report: Path, device: str) -> list[Row]:
    """Measure the checkpoint, write `report/table.md`, `report/figures.json` and the sheets, and print the table."""
    settings = recipe.evaluation
    worlds = {
        "in-domain": load_sprites(assets, training_things(assets, recipe.composition.objects)),
        "held-out": load_sprites(assets, read_things(HELD_OUT)),
    }
    core = load_core(recipe, checkpoint, device)
    seeds = [(recipe.seed + EVALUATION_SEED, index) for index in range(settings.compositions)]
    rows: list[Row] = []
    for world, sprites in worlds.items():
        compositions = [compose(sprites, recipe.composition, seed) for seed in seeds]
        rows += autoencoder_rows(core, compositions, world)
        rows += inversion_rows(core, compositions[: settings.inversions], report, world)
        rows += correspondence_rows(core, sprites, recipe, world)
    rows += dragging_rows(core, worlds, recipe, report)
    if settings.samples:
        names = [thing.name for thing in training_things(assets, recipe.composition.objects)]
        _write_samples(checkpoint, core.device, names, recipe, report / "samples.png")
    write_json(report / "figures.json", [asdict(row) for row in rows])
    table = as_table(rows)
    (report / "table.md").write_text(table, encoding="utf-8")
    print(table)
    return rows


def write_pictures(recipe: Recipe, assets: Path, folder: Path) -> list[Path]:
    """Write `evaluation.compositions` in-domain pictures, of seeds that serve nothing else, as PNG into `folder`."""
    sprites = load_sprites(assets, training_things(assets, recipe.composition.objects))
    paths = []
    for index in range(recipe.evaluation.compositions):
        composed = compose(sprites, recipe.composition, (recipe.seed + EVALUATION_SEED, 4, index))
        paths.append(folder / f"{index:04d}-{sprites[composed.sprite].thing.name.replace(' ', '-')}.png")
        write_image(paths[-1], composed.picture)
    return paths


def as_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | measured | goal |", "| --- | --- | --- |"]
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:.3g} {row.unit}".strip()
        if row.low is not None and row.high is not None:
            value += f" ({row.low:.3g} to {row.high:.3g})"
        lines.append(f"| {row.name} | {value} | {row.goal} |")
    return "\n".join(lines) + "\n"


def psnr(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB, per picture of `(B, 3, H, W)` in [0, 1]."""
    return -10 * torch.log10((first - second).square().mean((1, 2, 3)).clamp(min=1e-10))


# --- autoencoder and inversion --------------------------------------------------------------------------------------


@torch.no_grad()
def autoencoder_rows(core: StableDiffusion, compositions: Sequence[Composed], world: str) -> list[Row]:
    """What the way through the posterior mean and back costs."""
    perceptual = PerceptualLoss().to(core.device)
    ratios, distances = [], []
    for composed in tqdm(compositions, desc=f"autoencoder, {world}"):
        image = core.image_tensor(composed.picture)
        decoded = core.decode(core.encode(image))
        ratios.append(psnr(decoded, image / 2 + 0.5).item())
        distances.append(perceptual(decoded * 2 - 1, image).item())
    count = len(compositions)
    return [
        Row.of(f"Autoencoder, {count} {world} pictures: PSNR", ratios, "dB", "≥ 27"),
        Row.of(f"Autoencoder, {count} {world} pictures: ST-LPIPS", distances, "", "≤ 0.05"),
    ]


@torch.no_grad()
def inversion_rows(core: StableDiffusion, compositions: Sequence[Composed], report: Path, world: str) -> list[Row]:
    """Inversion and sampling back without a drag, compared with the autoencoder's own reconstruction."""
    steps = core.actual_steps(Setting.of_model().inversion_strength)
    ratios, pictures = [], []
    for composed in tqdm(compositions, desc=f"inversion, {world}"):
        image, context = core.image_tensor(composed.picture), core.embed(composed.caption)
        inverted = core.invert_image(image, composed.caption, steps)
        sampled = core.decode(core.sample_back(inverted, inverted, context, steps))
        reference = core.decode(core.encode(image))
        ratios.append(psnr(sampled, reference).item())
        pictures.append([composed.picture, _to_uint8(reference), _to_uint8(sampled)])
    shown = pictures[:12]
    write_sheet(
        report / f"inversion-{world}.png", [row[kind] for kind in range(3) for row in shown], columns=len(shown)
    )
    way = f"Inversion of {steps} of {core.num_inference_steps} steps and back, no LoRA"
    name = f"{way}, {len(compositions)} {world} pictures: PSNR to the reconstruction"
    return [Row.of(name, ratios, "dB", "≥ 24")]


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


def correspondence_rows(core: StableDiffusion, sprites: Sequence[Sprite], recipe: Recipe, world: str) -> list[Row]:
    """PCK@0.1 of diffusion features between two pictures of an object: share within 0.1 × the object's side."""
    settings = recipe.evaluation
    dift = DiftSettings(timestep=settings.dift_timestep, up_block=settings.dift_block, ensemble=settings.ensemble)
    found: dict[str, list[float]] = {"upright": [], "turned": [], "chance": []}
    for index in tqdm(range(settings.pairs), desc=f"correspondence, {world}"):
        rng = np.random.default_rng((recipe.seed + EVALUATION_SEED, 1, index))
        sprite = sprites[index % len(sprites)]
        first = place_on(rng, sprite, recipe.composition, angle=0.0)
        points = points_on(rng, sprite, 8)
        sources = on_picture(points, first.placement, sprite)
        features = dift_features(core, first.picture, dift)
        for name, angle in (("upright", 0.0), ("turned", TURN)):
            second = place_on(rng, sprite, recipe.composition, angle)
            targets = on_picture(points, second.placement, sprite)
            matched = correspond(features, dift_features(core, second.picture, dift), sources, first.picture.shape[:2])
            radius = 0.1 * second.placement.side
            found[name].extend(np.linalg.norm(matched.xy - targets.xy, axis=1) <= radius)
            if name == "upright":
                y, x = np.mgrid[: recipe.composition.side, : recipe.composition.side]
                found["chance"].extend(np.mean(np.hypot(x - px, y - py) <= radius) for px, py in targets.xy)
    chance = float(np.mean(found["chance"]))
    title = f"PCK@0.1, {settings.pairs} pairs of {world} objects"
    return [
        Row(f"{title}, other place and background", float(np.mean(found["upright"])), "", f"≥ {3 * chance:.3f}"),
        Row(f"{title}, one of them turned by {TURN:.0f}°", float(np.mean(found["turned"])), "", "clearly lower"),
        Row(f"{title}, chance", chance, ""),
    ]


# --- dragging -------------------------------------------------------------------------------------------------------


def dragging_rows(
    core: StableDiffusion, worlds: Mapping[str, Sequence[Sprite]], recipe: Recipe, report: Path
) -> list[Row]:
    """How far from wanted turns and targets each method's edits are, and the source and the exact result."""
    settings = recipe.evaluation
    rows: list[Row] = []
    suite = metric_suite(settings)
    setting = Setting.of_model()
    editors: dict[str, Editor] = {
        "nothing edited": lambda sample: sample.image,
        **{name: setting.editor(core, name) for name in METHODS},
        "exact result": lambda sample: sample.image if sample.target is None else sample.target,
    }
    for world, sprites in worlds.items():
        if not settings.drags:
            break
        samples = rotation_samples(sprites, recipe.composition, settings.drags, (recipe.seed + EVALUATION_SEED, 2))
        pictures = []
        for name, edit in editors.items():
            drags = measure(core, samples, edit, suite, f"{world}, {name}")
            pictures.extend(drags.edits[:12])
            title = f"{settings.drags} drags, {world}, {name}"
            rows.append(Row.of(f"{title}: MD", drags.known("mean_distance"), "px"))
            errors = 100 * drags.relative_errors()
            rows.append(Row.of(f"{title}: median error of the turn", errors, "% of the turn", statistic=np.median))
        write_sheet(report / f"dragging-{world}.png", pictures, columns=min(12, len(samples)))
    return rows


# --- samples --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _write_samples(checkpoint: Path, device: torch.device, names: Sequence[str], recipe: Recipe, path: Path) -> None:
    """A sheet of text-to-picture samples by the diffusers pipeline, of objects and grounds that were trained on."""
    settings = recipe.evaluation
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    rng = np.random.default_rng(EVALUATION_SEED)
    grounds = [kind for kind, weight in recipe.composition.backgrounds.items() if weight > 0]
    prompts = []
    for index in range(settings.samples):
        _, words = KINDS[grounds[rng.integers(len(grounds))]](rng, recipe.composition.side)
        prompts.append(caption(names[index % len(names)], words))
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
