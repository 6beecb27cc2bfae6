"""What a study is made from: the samples of a results folder that all labels edited, and their pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rotationbench.datasets import chosen_names
from rotationbench.drawing import draw_sample
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.pictures import read_rgb
from rotationbench.results import EDITED_FILE, SAMPLES, ResultStore
from rotationbench.sample import DragSample, resize_image

FIGURE_QUALITY = 90


def common_samples(
    store: ResultStore, labels: Sequence[str], patterns: Sequence[str] | None = None, limit: int | None = None
) -> list[str]:
    """Names of the samples of which each label has an edit.

    Args:
        store: the results folder.
        labels: the labels.
        patterns: names or globs of the samples that are meant; None means all.
        limit: how many at most.

    Raises:
        ConfigError: when there is no edit under a label, or no sample that all labels edited.
    """
    done: dict[str, set[str]] = {}
    for edit in store.edits():
        if edit.done:
            done.setdefault(edit.label, set()).add(edit.sample_name)
    for label in labels:
        if label not in done:
            known = ", ".join(sorted(done)) or "none"
            raise ConfigError(f"study.labels: expected labels with edits in {store.root} ({known}), got {label!r}.")
    common = sorted(set.intersection(*(done[label] for label in labels)))
    if not common:
        raise ConfigError(f"study.labels: expected labels that edited the same samples, got {', '.join(labels)}.")
    return chosen_names(common, patterns, limit)


def edits_of(store: ResultStore, sample: DragSample, labels: Sequence[str]) -> list[np.ndarray]:
    """The edits of a sample, uint8 `(H, W, 3)`, in the order of the labels.

    Raises:
        DatasetError: when an edit is damaged, was made from another sample, or has another size than its sample.
    """
    pictures = []
    for label in labels:
        folder, edit = store.folder(label, sample.name), store.read(label, sample.name)
        if edit is None:
            raise DatasetError([f"{folder}: expected an edit, got one that is not whole."])
        if edit.record["sample"]["digest"] != sample.digest:
            kept = store.folder(SAMPLES, sample.name)
            raise DatasetError([f"{folder}: expected an edit of the sample in {kept}, got one of another."])
        picture = read_rgb(folder / EDITED_FILE)
        if picture.shape != sample.image.shape:
            size, got = (f"{shape[1]} × {shape[0]}" for shape in (sample.image.shape, picture.shape))
            raise DatasetError([f"{folder / EDITED_FILE}: expected {size} pixels as its sample, got {got}."])
        pictures.append(picture)
    return pictures


def marked(sample: DragSample, side: int) -> bytes:
    """The sample's picture with mask, handles, targets and the turn drawn on it, as WebP."""
    return encoded(draw_sample(sample), max(side, *sample.size), FIGURE_QUALITY)


def encoded(picture: np.ndarray, side: int, quality: int | None = None) -> bytes:
    """A picture as WebP: pixels and nothing else.

    Args:
        picture: uint8 `(H, W, 3)`.
        side: pixels of the long side at most; a smaller picture keeps its size.
        quality: 1 to 100; None stores the pixels without loss.
    """
    height, width = picture.shape[:2]
    share = side / max(height, width)
    if share < 1:
        picture = resize_image(picture, (max(1, round(height * share)), max(1, round(width * share))))
    buffer = io.BytesIO()
    if quality is None:
        Image.fromarray(picture).save(buffer, "WEBP", lossless=True, method=4)
    else:
        Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
