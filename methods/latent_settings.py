"""The settings that methods which optimise a latent share."""

from __future__ import annotations

from dataclasses import dataclass, field

from rotationbench.diffusion.lora import LoraSettings
from rotationbench.settings import check_between, check_not_negative, check_positive, check_share


@dataclass(frozen=True, kw_only=True)
class OptimisationSettings:
    """Settings of every method that inverts the picture and optimises a latent.

    Args:
        latent_lr: learning rate of Adam on the latent.
        lam: λ, the weight of the background term.
        inversion_strength: share of the DDIM steps that the inversion takes, in (0, 1].
        feature_index: the UNet block whose features are supervised: 0 is the mid block, 1 to 4 the up blocks.
        lora: how the picture's LoRA is trained; None drags without one.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    latent_lr: float = 0.01
    lam: float = 0.1
    inversion_strength: float = 0.75
    feature_index: int = 3
    lora: LoraSettings | None = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        check_positive(self, "latent_lr")
        check_not_negative(self, "lam")
        check_inversion_strength(self.inversion_strength)
        check_between(self, 0, 4, "feature_index")


@dataclass(frozen=True, kw_only=True)
class LatentSettings(OptimisationSettings):
    """The settings of `OptimisationSettings` and this, of methods with a single loop of drag steps.

    Args:
        max_steps: limit of drag steps.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    max_steps: int = 80

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_steps")


@dataclass(frozen=True, kw_only=True)
class LatentDragSettings(LatentSettings):
    """The settings of `LatentSettings` and these; the defaults are those of DragDiffusion's released program.

    Args:
        r_m: radius of the motion-supervision patch, in cells.
        r_t: radius of the tracking search, in cells.
        stop_distance: a handle nearer to its target than this, in cells, has arrived; the drag ends when all have.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    r_m: int = 1
    r_t: int = 3
    stop_distance: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "stop_distance")
        check_not_negative(self, "r_m", "r_t")


def check_inversion_strength(strength: float) -> None:
    """Refuse an inversion strength outside (0, 1]."""
    check_share("method.inversion_strength", strength)
