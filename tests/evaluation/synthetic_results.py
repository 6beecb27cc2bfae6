"""Results folders with known answers: a textured object is turned about a pivot by methods that do just one thing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from evaluation.suite import MetricSuite
from rotationbench.datasets import open_dataset, write_sample
from rotationbench.points import ImagePoints
from rotationbench.results import SAMPLES, SCHEMA, ResultStore, fingerprint, write_table
from rotationbench.sample import DragSample, SampleMeta

ANGLES = (20.0, -40.0, 70.0, 100.0, -130.0, 160.0)
STEPS = 8
NASTY = 'x</script><script>throw new Error("escaped")</script>'


def turned(picture: np.ndarray, pivot: tuple[float, float], angle: float, flags: int) -> np.ndarray:
    """`picture` turned by `angle` degrees, clockwise on the screen, by OpenCV's convention written out."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    linear = np.array([[cos, -sin], [sin, cos]])
    matrix = np.hstack([linear, (np.array(pivot) - linear @ pivot)[:, None]])
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=flags)


def make_sample(index: int, side: int = 128, angle: float | None = None) -> DragSample:
    """An ellipse with a random texture on a smooth background; the exact result turns it by `angle`."""
    rng = np.random.default_rng(index)
    angle = ANGLES[index % len(ANGLES)] if angle is None else angle
    pivot = (side / 2 + 1.0, side / 2 - 2.0)
    texture = cv2.resize(rng.integers(0, 256, (side // 5, side // 5, 3), dtype=np.uint8), (side, side))
    ramp = np.linspace(60, 190, side)
    background = np.stack([ramp[:, None] + 0 * ramp, ramp[None] + 0 * ramp[:, None], np.full((side, side), 120.0)], -1)
    background = background.astype(np.uint8)
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, (int(pivot[0]), int(pivot[1])), (int(side * 0.32), int(side * 0.24)), 0, 0, 360, 1, -1)
    after = turned(mask, pivot, angle, cv2.INTER_NEAREST) > 0
    image = np.where(mask[..., None] > 0, texture, background)
    target = np.where(after[..., None], turned(texture, pivot, angle, cv2.INTER_LINEAR), background)
    source = np.array([[pivot[0] + side * 0.2, pivot[1] + 3.0], pivot])
    radians = np.radians(angle)
    turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    disc = np.zeros((side, side), np.uint8)
    cv2.circle(disc, (int(pivot[0]), int(pivot[1])), int(side * 0.4), 1, -1)
    return DragSample(
        name=f"blob{index:03d}",
        image=image,
        prompt="a patterned stone",
        sources=ImagePoints(source),
        targets=ImagePoints(np.stack([turn @ (source[0] - pivot) + pivot, source[1]])),
        mask=disc > 0,
        target=target,
        meta=SampleMeta(
            split="generated" if index % 2 == 0 else "real",
            category=("stone", "leaf", "cup")[index % 3],
            pivot=pivot,
            angle=angle,
            object_mask=mask > 0,
            object_mask_target=after,
        ),
    )


def the_truth(sample: DragSample) -> np.ndarray:
    assert sample.target is not None
    return sample.target


def nothing(sample: DragSample) -> np.ndarray:
    return sample.image


def the_wrong_way(sample: DragSample) -> np.ndarray:
    """The object turned by the wanted angle in the other direction, in front of the exact background."""
    meta = sample.meta
    assert meta.pivot is not None and meta.angle is not None and meta.object_mask is not None
    background = make_background(sample)
    mask = turned(meta.object_mask.astype(np.uint8), meta.pivot, -meta.angle, cv2.INTER_NEAREST) > 0
    return np.where(mask[..., None], turned(sample.image, meta.pivot, -meta.angle, cv2.INTER_LINEAR), background)


def make_background(sample: DragSample) -> np.ndarray:
    side = sample.size[0]
    ramp = np.linspace(60, 190, side)
    layers = [ramp[:, None] + 0 * ramp, ramp[None] + 0 * ramp[:, None], np.full((side, side), 120.0)]
    return np.stack(layers, -1).astype(np.uint8)


METHODS = {"truth": the_truth, "idle": nothing, "backwards": the_wrong_way}


def write_edit(
    root: Path,
    sample: DragSample,
    method: str,
    image: np.ndarray | None,
    *,
    seed: int = 0,
    seconds: float = 1.0,
    **changes: object,
) -> Path:
    """An edit as the benchmark leaves it; without an image a failed one."""
    label = method if seed == 0 else f"{method}-seed{seed}"
    start, end = sample.sources.xy, sample.targets.xy
    steps = np.linspace(0, 1, STEPS)
    identity = {"method": method, "sample": sample.digest, "seed": seed}
    record = {
        "schema": SCHEMA,
        "status": "done",
        "error": None,
        "method": method,
        "method_version": 1,
        "label": label,
        "variant": method,
        "seed": seed,
        "sample": {
            "name": sample.name,
            "digest": sample.digest,
            "full_digest": sample.full_digest,
            "split": sample.meta.split,
            "category": sample.meta.category,
            "angle": sample.meta.angle,
            "height": sample.size[0],
            "width": sample.size[1],
            "handles": 1,
            "pairs": 2,
        },
        "fingerprint": fingerprint(identity),
        "identity": identity,
        "config": {"method": {"name": method, "max_steps": STEPS}, "model": {"name": "none"}, "seed": seed},
        "versions": {"python": "3.11", "torch": "2.0"},
        "commit": "0" * 40,
        "weights_hash": "1" * 64,
        "device": "cpu",
        "dtype": "float32",
        "started": f"2026-01-01T00:00:{list(METHODS).index(method) if method in METHODS else 59:02d}+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        "seconds": seconds,
        "phases": {"inversion": seconds / 4, "drag": seconds / 2, "sampling": seconds / 4},
        "unet_calls": 100,
        "unet_images": 120,
        "unet_grad_calls": 8,
        "peak_memory_mb": 500.0,
        "steps": STEPS,
        "converged": True,
        "final_distances": [0.0],
        "distance_left": (np.linalg.norm(end[0] - start[0]) * (1 - steps)).tolist(),
        "trajectory": [(start + share * (end - start)).tolist() for share in steps],
        "axis": None,
    } | changes
    if image is None:
        measured = ("seconds", "phases", "unet_calls", "unet_images", "unet_grad_calls", "peak_memory_mb", "steps")
        record |= dict.fromkeys((*measured, "converged", "final_distances", "distance_left", "trajectory"))
        record |= {"status": "failed", "error": {"type": "RuntimeError", "message": "out of memory", "traceback": "…"}}
    return ResultStore(root).save(record, image=image).folder


def write_results(root: Path, samples: int = 6, methods: tuple[str, ...] = tuple(METHODS), side: int = 128) -> Path:
    """A results folder in which each of `methods` edited the same samples."""
    for index in range(samples):
        sample = make_sample(index, side)
        write_sample(root / SAMPLES / sample.name, sample)
        for number, method in enumerate(methods):
            write_edit(root, sample, method, METHODS[method](sample), seconds=1.0 + number + 0.1 * index)
    return root


def measure(root: Path) -> None:
    suite = MetricSuite(["psnr", "psnr_target", "background_psnr", "rotation_error", "dai_1"], device="cpu")
    samples = open_dataset(root / SAMPLES, "rotationbench")
    for edit in ResultStore(root).edits():
        if edit.done:
            suite.evaluate_edit(edit, samples[edit.record["sample"]["name"]], None)
    write_table(ResultStore(root))
