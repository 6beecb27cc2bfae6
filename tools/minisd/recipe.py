"""The settings of a training run: typed, checked on entry, read from `presets/<name>.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rotationbench.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"


@dataclass
class Composition:
    """How training pictures are composed.

    Args:
        side: side of the square picture in pixels.
        objects: `few` or `plain` for the objects of these lists, `all` for every single object of the package.
        scale: smallest and largest side of an object, as a share of the picture's side.
        whole: keep an object so near to the middle that no turn takes a part of it out of the picture.
        upright_share: share of the objects that turn by at most `upright_degrees`.
        upright_degrees: largest turn of an upright object.
        turned_degrees: largest turn of the others.
        shadow_share: share of the objects that cast a soft shadow.
        backgrounds: relative frequency of each kind of background.
    """

    side: int = 128
    objects: str = "plain"
    scale: tuple[float, float] = (0.45, 0.75)
    whole: bool = False
    upright_share: float = 0.8
    upright_degrees: float = 12.0
    turned_degrees: float = 60.0
    shadow_share: float = 0.3
    backgrounds: dict[str, float] = field(
        default_factory=lambda: {"plain": 4.0, "gradient": 4.0, "scene": 2.0, "texture": 0.5, "photo": 0.5}
    )


@dataclass
class AutoencoderRecipe:
    """The autoencoder and its training: L1 + perceptual × `perceptual_weight` + KL × `kl_weight` on random crops."""

    channels: tuple[int, ...] = (16, 32, 64)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_groups: int = 1
    mid_attention: bool = False
    crop: int = 64
    batch: int = 8
    steps: int = 4000
    learning_rate: float = 2e-3
    warmup: int = 100
    decay: int = 1500
    perceptual_weight: float = 0.1
    kl_weight: float = 1e-6
    ema: float = 0.995


@dataclass
class DenoiserRecipe:
    """The UNet, the text encoder and their joint training on stored latents.

    Args:
        heads: attention heads per level.
        text_width: width of the text encoder and of the UNet's cross-attention.
        vocabulary: size of the tokenizer's vocabulary, the byte alphabet and both special tokens included.
        pictures: number of pictures whose latents are stored and trained on.
        crop: side of the squares of latent cells that the first `crop_steps` steps see; cheaper than whole latents.
        snr_gamma: min-SNR weighting (Hang et al., 2303.09556); 0 weights all timesteps alike.
        empty_share: share of the captions replaced by the empty prompt.
        compile: whether the training runs through torch.compile, which needs a C++ compiler and a minute to begin.
    """

    channels: tuple[int, int, int, int] = (32, 48, 64, 96)
    heads: tuple[int, int, int, int] = (1, 1, 2, 2)
    norm_groups: int = 8
    text_width: int = 96
    text_layers: int = 2
    text_heads: int = 4
    vocabulary: int = 1536
    pictures: int = 4096
    batch: int = 8
    crop: int = 24
    crop_steps: int = 0
    steps: int = 20000
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: int = 5000
    snr_gamma: float = 5.0
    empty_share: float = 0.1
    ema: float = 0.998
    compile: bool = False


@dataclass
class EvaluationRecipe:
    """What `evaluate` measures, and how often.

    Args:
        compositions: pictures for the autoencoder.
        inversions: pictures that are inverted.
        pairs: pairs of pictures for correspondence.
        drags: rotations that are dragged, in-domain and held-out each.
        search: rotations on which settings are compared.
        samples: text-to-picture samples; 0 writes no sheet.
        inference_steps: S, DDIM steps from pure noise to the picture.
        dift_timestep: noise level at which features are read.
        dift_block: up block, counted from 0, whose features are read.
        dift_resolution: side in pixels at which features for mean distances are read.
        ensemble: noise draws that features are averaged over.
        guidance: guidance scale of the samples.
    """

    compositions: int = 200
    inversions: int = 48
    pairs: int = 200
    drags: int = 24
    search: int = 8
    samples: int = 64
    inference_steps: int = 20
    dift_timestep: int = 261
    dift_block: int = 2
    dift_resolution: int = 256
    ensemble: int = 2
    guidance: float = 3.0


@dataclass
class Recipe:
    """Everything that decides what a run trains; `save_every` and `sheet_every` count steps."""

    composition: Composition = field(default_factory=Composition)
    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    denoiser: DenoiserRecipe = field(default_factory=DenoiserRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    seed: int = 0
    workers: int = 0
    save_every: int = 500
    sheet_every: int = 1000

    def __post_init__(self) -> None:
        factor = 2 ** (len(self.autoencoder.channels) - 1)
        if self.composition.side % (8 * factor) or self.autoencoder.crop % factor:
            raise ConfigError(
                f"Expected composition.side to be a multiple of {8 * factor} and autoencoder.crop of {factor}, "
                f"got {self.composition.side} and {self.autoencoder.crop}."
            )
        if self.composition.objects not in {"few", "plain", "all"}:
            raise ConfigError(
                f"Expected composition.objects to be few, plain or all, got {self.composition.objects!r}."
            )

    @property
    def factor(self) -> int:
        """Pixels per latent cell along one side."""
        return 2 ** (len(self.autoencoder.channels) - 1)

    def as_dict(self) -> dict[str, object]:
        """The settings as plain containers, for JSON."""
        return asdict(self)


def load_recipe(preset: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of `presets/<preset>.yaml` (or of the YAML file at that path), with `overrides` such as `seed=1`.

    Raises:
        ConfigError: an unknown preset or key, or a value of the wrong type.
    """
    path = Path(preset) if preset.endswith(".yaml") else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in PRESETS.glob("*.yaml")))
        raise ConfigError(f"{path}: no such preset. Expected one of {names}, or the path of a YAML file.")
    try:
        defaults, preset = OmegaConf.structured(Recipe), OmegaConf.load(path)
        if OmegaConf.select(preset, "composition.backgrounds") is not None:
            # Backgrounds that a preset does not name do not occur in it.
            defaults.composition.backgrounds = {}
        merged = OmegaConf.merge(defaults, preset, OmegaConf.from_dotlist([*overrides]))
        recipe = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {error}") from error
    assert isinstance(recipe, Recipe)
    return recipe
