"""Diffusion features of pictures, read once and shared by every metric that looks at them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from rotationbench.diffusion.dift import DiftSettings, content_of, dift_features
from rotationbench.errors import ConfigError

if TYPE_CHECKING:
    from rotationbench.diffusion.core import StableDiffusion

REMEMBERED = 64
"""Pictures whose features are kept, so that every method on the same sample shares those of the source."""


class PictureFeatures:
    """Reads diffusion features, from a model of its own or from one that is handed over.

    Args:
        dift: where and how features are read; the sample's prompt replaces the one in there.
        load_model: loads the model of its own; None means the model that is handed over with the edits.
    """

    def __init__(self, dift: DiftSettings, load_model: Callable[[], StableDiffusion] | None = None) -> None:
        self.dift, self._load_model = dift, load_model
        self._own: StableDiffusion | None = None
        self._kept: OrderedDict[tuple, torch.Tensor] = OrderedDict()

    @property
    def needs_core(self) -> bool:
        """Whether a model has to be handed over."""
        return self._load_model is None

    def prepare(self) -> None:
        """Load the model of its own, where one is named.

        Raises:
            CheckpointError: when it cannot be used.
        """
        if self._load_model is not None and self._own is None:
            self._own = self._load_model()

    def describe(self, core: StableDiffusion | None, **changes: object) -> str:
        """Model and settings as text; `changes` are to the settings."""
        model = self._model(core)
        options = asdict(self.dift) | changes
        listing = " ".join(f"{name}={value}" for name, value in options.items() if name not in ("prompt", "batch"))
        return f"dift model={model.model_hash} dtype={model.dtype} {listing}"

    def of(
        self,
        picture: np.ndarray,
        prompt: str,
        core: StableDiffusion | None,
        seed: int,
        *,
        edit_of: np.ndarray | None = None,
        resolution: int | None = None,
        posterior_mean: bool = False,
    ) -> torch.Tensor:
        """Features `(1, C, h, w)` of a picture uint8 `(H, W, 3)`.

        All edits of a source share their noise, which is not that of the source: edits that differ by rounding have
        features that do. An edit that equals its source has the source's features.

        Args:
            picture: the picture.
            prompt: text that conditions the UNet.
            core: the model, unless there is an own one.
            seed: seed of the noise.
            edit_of: the source, uint8 `(H, W, 3)`, when the picture is an edit.
            resolution: in place of the settings' own; None keeps it.
            posterior_mean: see `dift_features`.

        Raises:
            ConfigError: when there is no model.
        """
        model = self._model(core)
        dift = replace(self.dift, prompt=prompt)
        if resolution is not None:
            dift = replace(dift, resolution=resolution)
        content = _digest(picture)
        source = content if edit_of is None else _digest(edit_of)
        noise_of = None if content == source else f"edit of {source}"
        key = (model.model_hash, content, noise_of, prompt, seed, dift.resolution, posterior_mean)
        if key not in self._kept:
            self._kept[key] = dift_features(
                model, picture, dift, seed=seed, noise_of=noise_of, posterior_mean=posterior_mean
            )
        self._kept.move_to_end(key)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _model(self, core: StableDiffusion | None) -> StableDiffusion:
        model = self._own if self._own is not None else core
        if model is None:
            raise ConfigError("metrics: mean_distance and mm_distance need a diffusion model, got none.")
        return model


def _digest(picture: np.ndarray) -> str:
    return hashlib.sha256(content_of(picture)).hexdigest()
