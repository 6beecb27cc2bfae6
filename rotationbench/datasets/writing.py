"""Writing a sample as a RotationBench folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.files import write_image, write_json
from rotationbench.points import ImagePoints
from rotationbench.sample import DragSample, Regions


def write_sample(folder: Path, sample: DragSample) -> None:
    """Write `sample` into `folder`, from which `open_dataset` reads it back equal, apart from its name.

    Every file appears whole or not at all, `config.json` last. Files that the sample does not have are removed, so
    that nothing is left of a sample that was in the folder before.

    Args:
        folder: the sample's folder; it is made when missing.
        sample: what is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    meta, regions = sample.meta, sample.regions
    pictures: dict[str, np.ndarray | None] = {
        "image.png": sample.image,
        "mask.png": _grey(sample.mask),
        "target.png": sample.target,
        "reference.png": sample.reference,
        "object_mask.png": _grey(meta.object_mask),
        "object_mask_target.png": _grey(meta.object_mask_target),
    }
    if regions is not None:
        pictures |= {_file_of(name): _grey(mask) for name, mask in regions.masks().items()}
    for path in folder.glob(_file_of("*")):
        if path.name not in pictures:
            path.unlink()
    for name, picture in pictures.items():
        if picture is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_image(folder / name, picture)

    known: dict[str, Any] = {
        "split": meta.split,
        "category": meta.category,
        "licence": meta.licence,
        "source": meta.source,
        "pivot": _place(meta.pivot),
        "angle": meta.angle,
        "turn_estimated": meta.turn_estimated or None,
        "difficulty": meta.difficulty,
        "object_mask": None if meta.object_mask is None else "object_mask.png",
        "object_mask_target": None if meta.object_mask_target is None else "object_mask_target.png",
    }
    content = {key: value for key, value in known.items() if value is not None} | meta.extra
    _write_or_remove(folder / "meta.json", content or None)
    _write_or_remove(folder / "regions.json", None if regions is None else _regions_content(regions))

    config: dict[str, Any] = {"point": _alternating(sample.sources, sample.targets), "prompt": sample.prompt}
    if sample.edit_prompt is not None:
        config["edit_prompt"] = sample.edit_prompt
    if sample.pix_step is not None:
        config["pix_step"] = sample.pix_step
    write_json(folder / "config.json", config)


def number(value: float) -> int | float:
    """`value` as an int when it is whole, so that files hold `64` and not `64.0`."""
    return int(value) if float(value).is_integer() else float(value)


def _grey(mask: np.ndarray | None) -> np.ndarray | None:
    return None if mask is None else mask.astype(np.uint8) * 255


def _regions_content(regions: Regions) -> dict[str, Any]:
    parts = [
        {
            "mask": _file_of(f"part {index}"),
            "task": part.task,
            "source": _place(part.source),
            "target": _place(part.target),
            "anchor": _place(part.anchor),
            "angle": part.angle,
            "pairs": list(part.pairs),
        }
        for index, part in enumerate(regions.parts)
    ]
    return {
        "sources": None if regions.sources is None else _file_of("sources"),
        "targets": None if regions.targets is None else _file_of("targets"),
        "pairs": None if regions.pairs is None else _alternating(*regions.pairs),
        "cell": _place(regions.cell),
        "parts": parts,
    }


def _file_of(mask: str) -> str:
    return f"region_{mask.replace(' ', '_')}.png"


def _alternating(sources: ImagePoints, targets: ImagePoints) -> list[list[int | float]]:
    pairs = np.stack([sources.xy, targets.xy], axis=1).reshape(-1, 2)
    return [[number(x), number(y)] for x, y in pairs.tolist()]


def _place(point: tuple[float, float] | None) -> list[int | float] | None:
    return None if point is None else [number(value) for value in point]


def _write_or_remove(path: Path, content: dict[str, Any] | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_json(path, content)
