"""Bounds on what an edit may ask for, which can be told before anything is loaded."""

from __future__ import annotations

from rotationbench.errors import ConfigError

LORA_FOLDER = "lora"
"""Where trained LoRAs lie below the folder of caches."""
MAX_PIXELS = 2**22
"""Default of the largest working area, 2048²: beyond it, a single step takes minutes and tens of gigabytes."""
MAX_PROMPT_BYTES = 2**16
"""A text model reads 77 tokens; splitting a text of megabytes into tokens takes minutes."""
RESOLUTIONS = (32, 8192)
"""Pixels of the short side: four cells of Stable Diffusion's latent, and more than any model was trained for."""
INFERENCE_STEPS = (1, 1000)


def check_model_limits(resolution: int | None, num_inference_steps: int, max_pixels: int) -> None:
    """Refuse settings of a model outside their ranges; see `StableDiffusion` for their meaning.

    Raises:
        ConfigError: with the key of the first of them.
    """
    for name, value, (low, high) in (
        ("resolution", resolution, RESOLUTIONS),
        ("num_inference_steps", num_inference_steps, INFERENCE_STEPS),
        ("max_pixels", max_pixels, (RESOLUTIONS[0] ** 2, RESOLUTIONS[1] ** 2)),
    ):
        if value is not None and not low <= value <= high:
            raise ConfigError(f"model.{name}: expected {low} to {high}, got {value}.")


def working_size(
    size: tuple[int, int], resolution: int | None, max_pixels: int = MAX_PIXELS, cell: int = 1
) -> tuple[int, int]:
    """The size at which a picture is edited: aspect ratio kept, whole cells.

    Args:
        size: height and width of the picture in pixels.
        resolution: length of the short side, in pixels; None keeps the picture's own.
        max_pixels: the largest area.
        cell: side of a cell of the latent in pixels.

    Raises:
        ConfigError: when the area is larger than `max_pixels`.
    """
    if fault := area_fault(size, resolution, max_pixels, cell):
        raise ConfigError(f"model.max_pixels: {fault}")
    return _whole_cells(size, resolution, cell)


def area_fault(size: tuple[int, int], resolution: int | None, max_pixels: int, cell: int = 1) -> str | None:
    """What keeps a picture from being edited at its working size, as a sentence; None when nothing does."""
    height, width = _whole_cells(size, resolution, cell)
    if height * width <= max_pixels:
        return None
    return (
        f"expected pictures of at most {max_pixels} pixels, got {size[0]} × {size[1]}, which "
        f"model.resolution={resolution or 'null'} makes {height} × {width}."
    )


def _whole_cells(size: tuple[int, int], resolution: int | None, cell: int) -> tuple[int, int]:
    scale = 1.0 if resolution is None else resolution / min(size)
    height, width = (max(cell, round(extent * scale / cell) * cell) for extent in size)
    return height, width


def check_prompt(prompt: str) -> None:
    """Refuse a prompt of more than `MAX_PROMPT_BYTES` bytes.

    Raises:
        ConfigError: with the prompt's length.
    """
    size = len(prompt.encode(errors="surrogatepass"))
    if size > MAX_PROMPT_BYTES:
        raise ConfigError(f"prompt: expected at most {MAX_PROMPT_BYTES} bytes, got {size}: {prompt[:40]!r}…")
