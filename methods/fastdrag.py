"""FastDrag (Zhao et al., arXiv 2405.15769): one warp of the inverted latent, and no optimisation.

Reads as section 3 of the paper. The picture is inverted, and the keys and values of its self-attention are kept. Every
cell of the masked latent is moved once, by what the handles' ways leave of themselves at its place: inside a circle
around the mask, a way fades from all of itself at its handle to nothing on the circle. The cells that are left empty
are filled from their neighbours, and the latent is denoised with the kept keys and values.

Points here are rows and columns of the latent, with fractions, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from methods.latent_drag import mask_tensor
from methods.latent_settings import check_inversion_strength
from rotationbench.diffusion.attention import (
    KeysAndValues,
    lent_keys_and_values,
    recorded_keys_and_values,
    up_block_self_attention_layers,
)
from rotationbench.diffusion.core import StableDiffusion
from rotationbench.diffusion.ddim import ddim_step
from rotationbench.diffusion.lora import LoraSettings, attached_lora
from rotationbench.method import DragResult, Progress, no_progress
from rotationbench.sample import DragSample
from rotationbench.settings import check_choice

FILL_MODES = ("interpolation", "ori", "0", "random")
EMPTY = -1
NEAR = 1e-4
"""Added to distances before their reciprocals are taken as weights."""


@dataclass(frozen=True, kw_only=True)
class FastDrag:
    """FastDrag with the defaults of its released program, apart from the model: any model's UNet will do.

    Pivot pairs are anchors: they move nothing, but cells near them follow the other handles less. Without a mask every
    cell may move. A handle outside the circle around the mask widens the circle to itself.

    Args:
        inversion_strength: share of the DDIM steps that the inversion takes, in (0, 1].
        fill_mode: what goes into cells that were left: `"interpolation"` the mean of the nearest cells in the four
            directions, weighted by nearness; `"ori"` what was there; `"0"` zeros; `"random"` uniform noise.
        use_kv_copy: denoise with the keys and values of the inversion; otherwise with the latent's own.
        mask_antialias: shrink the mask to the latent with antialiasing.
        drop_cell_at_handle: a cell that lies exactly at a handle goes nowhere, as in the published program, where its
            displacement is 0/0; otherwise it goes all the way.
        lora: how the picture's LoRA is trained; None drags without one.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    version: ClassVar[int] = 1

    inversion_strength: float = 0.7
    fill_mode: str = "interpolation"
    use_kv_copy: bool = True
    mask_antialias: bool = False
    drop_cell_at_handle: bool = False
    lora: LoraSettings | None = None

    def __post_init__(self) -> None:
        check_inversion_strength(self.inversion_strength)
        check_choice(self, FILL_MODES, "fill_mode")

    def edit(
        self, core: StableDiffusion, sample: DragSample, *, seed: int = 0, progress: Progress = no_progress
    ) -> DragResult:
        """Invert the picture, warp its latent once, and denoise it; see `DragMethod.edit`."""
        image = core.image_tensor(sample.image)
        handles, targets = sample.sources.to_grid(sample.size), sample.targets.to_grid(sample.size)
        steps = core.actual_steps(self.inversion_strength)

        with attached_lora(core, image, sample.prompt, self.lora, seed), torch.no_grad():
            context = core.embed(sample.prompt)
            inverted, kept = invert_and_keep(core, image, context, steps)
            with core.cost.phase("drag", core.device):
                size = inverted.shape[2], inverted.shape[3]
                mask = latent_mask(sample, size, core, antialias=self.mask_antialias)
                cells_per_latent = torch.tensor(
                    [sample.size[0] // 2 / size[0], sample.size[1] // 2 / size[1]], dtype=torch.float64
                )
                came_from = warp(
                    mask > 0,
                    handles.rc.double() / cells_per_latent,
                    targets.rc.double() / cells_per_latent,
                    drop_cell_at_handle=self.drop_cell_at_handle,
                )
                generator = torch.Generator().manual_seed(seed)
                warped = fill(inverted, came_from, self.fill_mode, generator)
            progress(0, 1, 0.0)
            edited = core.decode(denoise(core, warped, context, steps, kept if self.use_kv_copy else {}))

        return DragResult(
            edited=edited.cpu(),
            trajectory=[handles, targets],
            targets=targets,
            steps=1,
            converged=None,
            trace={
                "inverted": inverted.cpu(),
                "optimized": warped.cpu(),
                "mask_latent": mask,
                "came_from": came_from.to(torch.int32),
            },
        )


def invert_and_keep(
    core: StableDiffusion, image: torch.Tensor, context: torch.Tensor, steps: int
) -> tuple[torch.Tensor, dict[int, KeysAndValues]]:
    """DDIM inversion that keeps, per timestep, the keys and values of self-attention in the up blocks.

    Args:
        core: the diffusion model.
        image: `(1, 3, H, W)` in [-1, 1].
        context: text embedding `(1, 77, C)`.
        steps: A.

    Returns:
        The inverted latent `(1, C, h, w)`, and the keys and values by timestep.
    """
    kept = {}
    with core.cost.phase("inversion", core.device):
        latents = core.encode(image)
        for timestep in reversed(core.timesteps[-steps:]):
            with recorded_keys_and_values(up_block_self_attention_layers(core.unet)) as kept[timestep]:
                noise = core.noise(latents, timestep, context)
            latents = ddim_step(latents, noise, core.alpha(timestep - core.timestep_stride), core.alpha(timestep))
    return latents, kept


def denoise(
    core: StableDiffusion, latents: torch.Tensor, context: torch.Tensor, steps: int, kept: dict[int, KeysAndValues]
) -> torch.Tensor:
    """Denoise over A = `steps` DDIM steps, at each timestep with the keys and values that were kept there, if any."""
    with core.cost.phase("sampling", core.device):
        for timestep in core.timesteps[-steps:]:
            if timestep in kept:
                with lent_keys_and_values(kept[timestep]):
                    noise = core.noise(latents, timestep, context)
            else:
                noise = core.noise(latents, timestep, context)
            latents = core.scheduler.step(noise, timestep, latents, eta=0.0).prev_sample
    return latents


def latent_mask(sample: DragSample, size: tuple[int, int], core: StableDiffusion, *, antialias: bool) -> torch.Tensor:
    """The mask at the latent's `size`, float32 `(h, w)` on the CPU: cells above 0 move; ones where there is no mask."""
    mask = mask_tensor(sample, torch.device("cpu"))
    if mask is None:
        return torch.ones(size)
    height, width = sample.size
    grid = F.interpolate(mask.float(), size=(height // 2, width // 2), mode="nearest")
    return F.interpolate(grid, size=size, mode="bilinear", align_corners=False, antialias=antialias)[0, 0]


def warp(
    moves: torch.Tensor, handles: torch.Tensor, targets: torch.Tensor, *, drop_cell_at_handle: bool
) -> torch.Tensor:
    """Where each cell's content comes from after every moving cell went its way, section 3.2 of the paper.

    Cells go in reading order; one that arrives where another has arrived before is lost.

    Args:
        moves: bool `(h, w)`.
        handles: `(N, 2)` float64, row and column.
        targets: `(N, 2)` float64.
        drop_cell_at_handle: as in `FastDrag`.

    Returns:
        int64 `(h, w)`: the number of a cell in reading order, or −1 where nothing is left.
    """
    rows, cols = moves.shape
    came_from = torch.arange(rows * cols).view(rows, cols)
    cells = torch.nonzero(moves)
    if len(cells) == 0 or len(handles) == 0:
        return came_from
    came_from[moves] = EMPTY
    ends = cells.double() + displacements(cells.double(), handles, targets, at_handle=not drop_cell_at_handle)
    arrived: set[tuple[int, int]] = set()
    for (row, col), end in zip(cells.tolist(), ends, strict=True):
        if not torch.isfinite(end).all():
            continue
        place = (
            min(max(int(end[0].round()), 0), rows - 1),
            min(max(int(end[1].round()), 0), cols - 1),
        )
        if place not in arrived:
            arrived.add(place)
            came_from[place] = row * cols + col
    return came_from


def displacements(
    cells: torch.Tensor, handles: torch.Tensor, targets: torch.Tensor, *, at_handle: bool
) -> torch.Tensor:
    """How far each moving cell goes, eq. 4 to 7 of the paper.

    With O the centre of the cells' bounding box and R the way to its corner: from a handle a through a cell C, the
    circle is reached after p; the cell follows the handle's way by the share |C − a − p| / |p| that lies ahead. Handles
    are weighted by how near they are.

    Args:
        cells: `(M, 2)` float64.
        handles: `(N, 2)` float64.
        targets: `(N, 2)` float64.
        at_handle: a cell at a handle follows it all the way; otherwise its displacement is NaN.

    Returns:
        `(M, 2)` float64.
    """
    corner = cells.min(dim=0).values
    centre = (corner + cells.max(dim=0).values) / 2
    reach = handles - centre
    radius = (centre - corner + 1e-6).norm().maximum(reach.norm(dim=1))

    spokes = cells[:, None] - handles[None]
    distances = spokes.norm(dim=2)
    inwards = (spokes * reach).sum(dim=2) / distances
    to_circle = (radius**2 - reach.square().sum(dim=1) + inwards**2).sqrt() - inwards
    ahead = to_circle[..., None] * spokes / distances[..., None]
    shares = (spokes - ahead).norm(dim=2) / to_circle.abs()
    if at_handle:
        shares = shares.where(distances > 0, torch.ones_like(shares))
    weights = 1 / (distances + NEAR)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return ((weights * shares)[..., None] * (targets - handles)).sum(dim=1)


def fill(latents: torch.Tensor, came_from: torch.Tensor, mode: str, generator: torch.Generator) -> torch.Tensor:
    """The latent with its cells where they went and the empty ones filled, section 3.3 of the paper.

    Args:
        latents: `(1, C, h, w)`.
        came_from: as from `warp`.
        mode: one of `FILL_MODES`.
        generator: source of the noise of `"random"`.

    Returns:
        `(1, C, h, w)`.
    """
    channels, (rows, cols) = latents.shape[1], came_from.shape
    flat = latents.reshape(channels, -1)
    empty = came_from == EMPTY
    # What an empty cell held stays for now; every mode but "ori" replaces it.
    sources = came_from.where(~empty, torch.arange(rows * cols).view(rows, cols)).flatten()
    warped = flat[:, sources.to(latents.device)].view(1, channels, rows, cols).clone()
    places = torch.nonzero(empty).tolist()
    if mode == "0":
        warped[:, :, empty] = 0.0
    elif mode == "random":
        noise = torch.rand(channels, len(places), generator=generator, dtype=torch.float32)
        warped[0][:, empty] = noise.to(warped)
    elif mode == "interpolation":
        for row, col in places:
            near = nearest_filled(empty, row, col)
            if near:
                weights = torch.tensor([1 / distance for _, _, distance in near], dtype=torch.float64)
                values = torch.stack([warped[0, :, r, c] for r, c, _ in near], dim=1)
                warped[0, :, row, col] = values @ (weights / weights.sum()).to(values)
                empty[row, col] = False
            else:
                warped[0, :, row, col] = 0.0
    return warped


def nearest_filled(empty: torch.Tensor, row: int, col: int) -> list[tuple[int, int, int]]:
    """The nearest cells that are not empty to the left, right, up and down: row, column and distance of each."""
    found = []
    for down, right in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        distance = 1
        while 0 <= row + down * distance < empty.shape[0] and 0 <= col + right * distance < empty.shape[1]:
            place = row + down * distance, col + right * distance
            if not empty[place]:
                found.append((*place, distance))
                break
            distance += 1
    return found
