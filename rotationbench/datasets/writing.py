"""Writing a sample as a RotationBench folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rotationbench.files import write_image, write_json
from rotationbench.sample import DragSample


def write_sample(folder: Path, sample: DragSample) -> None:
    """Write `sample` into `folder`, from which `open_dataset` reads it back equal, apart from its name.

    Every file appears whole or not at all, `config.json` last. Files that the sample does not have are removed, so
    that nothing is left of a sample that was in the folder before.

    Args:
        folder: the sample's folder; it is made when missing.
        sample: what is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "image.png", sample.image)
    meta = sample.meta
    pictures: dict[str, np.ndarray | None] = {
        "mask.png": _grey(sample.mask),
        "target.png": sample.target,
        "object_mask.png": _grey(meta.object_mask),
        "object_mask_target.png": _grey(meta.object_mask_target),
    }
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
        "pivot": None if meta.pivot is None else [number(value) for value in meta.pivot],
        "angle": meta.angle,
        "difficulty": meta.difficulty,
        "object_mask": None if meta.object_mask is None else "object_mask.png",
        "object_mask_target": None if meta.object_mask_target is None else "object_mask_target.png",
    }
    content = {key: value for key, value in known.items() if value is not None} | meta.extra
    if content:
        write_json(folder / "meta.json", content)
    else:
        (folder / "meta.json").unlink(missing_ok=True)

    pairs = np.stack([sample.sources.xy, sample.targets.xy], axis=1).reshape(-1, 2)
    config: dict[str, Any] = {
        "point": [[number(x), number(y)] for x, y in pairs.tolist()],
        "prompt": sample.prompt,
    }
    if sample.pix_step is not None:
        config["pix_step"] = sample.pix_step
    write_json(folder / "config.json", config)


def number(value: float) -> int | float:
    """`value` as an int when it is whole, so that files hold `64` and not `64.0`."""
    return int(value) if float(value).is_integer() else float(value)


def _grey(mask: np.ndarray | None) -> np.ndarray | None:
    return None if mask is None else mask.astype(np.uint8) * 255
