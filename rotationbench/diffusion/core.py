"""`StableDiffusion`: the one diffusion model that every method edits with and every feature is read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rotationbench.diffusion.attention import (
    TextMemory,
    check_attention_kernel,
    mutual_self_attention,
    set_attention_kernel,
)
from rotationbench.diffusion.cost import Cost, PhaseCost
from rotationbench.diffusion.ddim import ddim_scheduler, ddim_step, draw_noise, evenly_spread
from rotationbench.diffusion.devices import resolve_device, resolve_dtype
from rotationbench.diffusion.features import capture_features
from rotationbench.diffusion.finite import FiniteWatch
from rotationbench.diffusion.limits import MAX_PIXELS, check_model_limits, working_size
from rotationbench.diffusion.loading import Components, hash_model, hash_weights, load_components
from rotationbench.diffusion.merged_lora import MergedLora
from rotationbench.diffusion.text import embed_prompt

FP16_LOSS_SCALE = 2.0**12
"""Losses are multiplied by this before a backward pass in fp16, whose small gradients would otherwise become zero."""


class StableDiffusion:
    """Stable Diffusion with DDIM inversion, features, and sampling with mutual self-attention.

    Outside the UNet, latents `(B, C, h, w)` and features are of one number type, `latent_dtype`: float64 when the
    weights are float64, and float32 for every other type of weights. Noise is drawn in float32 on the CPU and cast, so
    that a seed means the same in every number type and on every device.

    Args:
        components: the parts of a checkpoint.
        device: where to compute.
        dtype: number type of the weights; below float32 the UNet runs under autocast.
        num_inference_steps: S, the DDIM steps from pure noise to the picture.
        resolution: length of the short side that pictures are edited at, in pixels; None keeps each picture's own.
        attention: `"sdpa"` or `"unfused"`; they differ by rounding.
        compile_unet: compile the UNet's transformer blocks, once for all sizes and batches; differs by rounding. The
            first evaluations take minutes longer, and on a CPU a C++ compiler is needed.
        cache_dir: folder for LoRAs; None keeps nothing on disk.
        max_pixels: the largest area that pictures are edited at.

    Attributes:
        weights_hash: SHA-256 over the weights.
        model_hash: SHA-256 over the weights and all settings of the checkpoint that decide results.
        cost: what was computed since the last `start_edit`.
        finite: watches that numbers stay finite.
        adapter_key: names what the UNet carries beside its own weights, such as a picture's LoRA; None for nothing.
        merged_lora: the LoRA that is part of the UNet's weights; None while there is none.

    Raises:
        ConfigError: when a setting lies outside its range.
    """

    def __init__(
        self,
        components: Components,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        num_inference_steps: int = 50,
        resolution: int | None = None,
        attention: str = "sdpa",
        compile_unet: bool = False,
        cache_dir: Path | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        check_attention_kernel(attention)
        check_model_limits(resolution, num_inference_steps, max_pixels)
        self.device, self.dtype = device, dtype
        self.latent_dtype = torch.float64 if dtype == torch.float64 else torch.float32
        self.resolution, self.cache_dir, self.max_pixels = resolution, cache_dir, max_pixels
        self.weights_hash = hash_weights(components.unet, components.vae, components.text_encoder)
        self.model_hash = hash_model(self.weights_hash, components.configuration())
        # On a CPU, group normalisation with a cell's channels together loses digits in float32.
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.unet = components.unet.to(device, memory_format=layout)
        self.vae, self.text_encoder = components.vae.to(device), components.text_encoder.to(device)
        self.tokenizer, self.scheduler_config = components.tokenizer, components.scheduler_config
        self.prediction_type = self.scheduler_config.get("prediction_type", "epsilon")
        self.scheduler = ddim_scheduler(num_inference_steps, self.latent_dtype)
        self.num_inference_steps = num_inference_steps
        self.timesteps: list[int] = self.scheduler.timesteps.tolist()
        self.alphas = self.scheduler.alphas_cumprod.to(device)
        # What is on the device already is not waited for when it gets there.
        self._timestep_tensors = torch.arange(len(self.alphas), device=device)
        self.vae_factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.cost = Cost()
        advice = "; fp16 overflows easily, dtype=bf16 and dtype=fp32 do not" if dtype == torch.float16 else ""
        self.finite = FiniteWatch(self.cost, advice)
        self.adapter_key: str | None = None
        self.merged_lora: MergedLora | None = None
        self._embeddings: dict[str, torch.Tensor] = {}
        self._inversions: dict[tuple[str, str, int, str | None], tuple[torch.Tensor, PhaseCost]] = {}
        self._text = TextMemory()
        # What compiled blocks remember would have them compiled anew.
        set_attention_kernel(self.unet, attention, None if compile_unet else self._text)
        if compile_unet:
            # Only the blocks that repeat, so that hooks and early exits between the others stay. Sizes are dynamic, so
            # that neither a batch of another length nor another picture compiles anew.
            self.unet.compile_repeated_blocks(dynamic=True)

    @classmethod
    def from_pretrained(
        cls,
        pretrained: str,
        *,
        vae: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        allow_pickle: bool = False,
        single_file_config: str | None = None,
        **settings: Any,
    ) -> StableDiffusion:
        """Load a checkpoint of Stable Diffusion 1.x or 2.x layout.

        Args:
            pretrained: hub id, folder in diffusers layout, or single file.
            vae: hub id or folder of another autoencoder (`AutoencoderKL` or `AutoencoderTiny`).
            device: `"auto"` (CUDA where there is one), `"cpu"`, `"cuda"` or any name torch knows.
            dtype: `"auto"` (fp16 on CUDA, fp32 elsewhere), `"fp64"`, `"fp32"`, `"fp16"` or `"bf16"`.
            allow_pickle: also read weights that are not safetensors; only for files you trust.
            single_file_config: diffusers folder or hub id that describes a single file's architecture.
            **settings: further arguments of the class.

        Raises:
            CheckpointError: when the checkpoint cannot be used; it names the path.
            ConfigError: when the device is absent or a setting is unknown.
        """
        place = resolve_device(device)
        number_type = resolve_dtype(dtype, place)
        components = load_components(
            pretrained, vae=vae, dtype=number_type, allow_pickle=allow_pickle, config=single_file_config
        )
        return cls(components, device=place, dtype=number_type, **settings)

    def start_edit(self) -> None:
        """Forget what earlier edits cost and left unread."""
        self.cost.reset()
        self.finite.forget()

    # --- pictures and prompts -----------------------------------------------------------------------------------

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size at which a picture of `size = (height, width)` is edited: aspect ratio kept, whole latent cells.

        Raises:
            ConfigError: when its area is larger than `max_pixels`.
        """
        return working_size(size, self.resolution, self.max_pixels, self.vae_factor)

    def image_tensor(self, image: np.ndarray) -> torch.Tensor:
        """uint8 `(H, W, 3)` as `(1, 3, H, W)` in [-1, 1], of the latents' number type, on the device."""
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return (tensor.to(self.device, self.latent_dtype) / 127.5) - 1

    @torch.no_grad()
    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Latents `(B, C, h, w)` of pictures `(B, 3, H, W)` in [-1, 1]: the posterior mean, scaled.

        Raises:
            ValueError: when a side is no multiple of the autoencoder's factor; see `working_size`.
        """
        with self.cost.phase_of_its_own("encode", self.device):
            encoded = self._encode(image)
            mean = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mean
            return self._scaled(mean)

    @torch.no_grad()
    def sample_posterior(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Latents drawn from the posterior, scaled; autoencoders without a posterior give their only answer."""
        with self.cost.phase_of_its_own("encode", self.device):
            encoded = self._encode(image)
            if hasattr(encoded, "latents"):
                return self._scaled(encoded.latents)
            posterior = encoded.latent_dist
            mean, std = posterior.mean.to(self.latent_dtype), posterior.std.to(self.latent_dtype)
            return self._scaled(mean + std * draw_noise(mean.shape, generator, mean))

    def _scaled(self, latents: torch.Tensor) -> torch.Tensor:
        self.finite.watch(latents, "the encoded picture")
        return latents.to(self.latent_dtype) * self.vae.config.scaling_factor

    def _encode(self, image: torch.Tensor) -> Any:
        if image.shape[-2] % self.vae_factor or image.shape[-1] % self.vae_factor:
            raise ValueError(
                f"Expected sides that are multiples of {self.vae_factor} px, got {tuple(image.shape[-2:])}; "
                "bring the picture to working_size() first."
            )
        return self.vae.encode(image.to(self.device, self.dtype))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures `(B, 3, H, W)` in [0, 1] of latents `(B, C, h, w)`.

        Raises:
            NonFiniteError: when a number is not finite, here or since the last decoding; it says where it began.
        """
        with self.cost.phase("decode", self.device):
            image = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.dtype)).sample
            self.finite.watch(image, "the decoded picture")
            self.finite.check()
            return (image.to(self.latent_dtype) / 2 + 0.5).clamp(0, 1)

    @torch.inference_mode(False)
    def embed(self, prompt: str) -> torch.Tensor:
        """Text embedding `(1, 77, C)` of a prompt, cut to the text model's length; remembered.

        Raises:
            ConfigError: when the prompt is longer than anything that could reach the text model.
        """
        if prompt not in self._embeddings:
            embedded = embed_prompt(prompt, self.tokenizer, self.text_encoder, self.device)
            self.finite.watch(embedded, "the embedded prompt")
            self._embeddings[prompt] = embedded.to(self.latent_dtype)
        return self._embeddings[prompt]

    # --- the UNet -----------------------------------------------------------------------------------------------

    def noise(self, latents: torch.Tensor, timestep: torch.Tensor | int, context: torch.Tensor) -> torch.Tensor:
        """Predicted noise ε `(B, C, h, w)`; what models of velocity predict is converted.

        Args:
            latents: `(B, C, h, w)`.
            timestep: one number, or `(B,)`.
            context: text embeddings `(1, 77, C)` or `(B, 77, C)`.
        """
        return self._as_noise(self._evaluate(latents, timestep, context), latents, timestep)

    def features(
        self, latents: torch.Tensor, timestep: torch.Tensor | int, context: torch.Tensor, index: int
    ) -> torch.Tensor:
        """Features `(B, C, h', w')` of one block, without evaluating the blocks behind it.

        Args:
            latents: `(B, C, h, w)`.
            timestep: one number, or `(B,)`.
            context: text embeddings `(1, 77, C)` or `(B, 77, C)`.
            index: 0 is the mid block, 1 to 4 the up blocks.

        Raises:
            ValueError: when the UNet has no such block.
        """
        with capture_features(self.unet, index, stop=True) as captured:
            self._evaluate(latents, timestep, context)
        features = captured.take().to(self.latent_dtype)
        self.finite.watch(features, "the UNet's features")
        return features

    def noise_and_features(
        self, latents: torch.Tensor, timestep: torch.Tensor | int, context: torch.Tensor, index: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted noise and the features of one block from a single evaluation; see `noise` and `features`."""
        with capture_features(self.unet, index, stop=False) as captured:
            predicted = self._evaluate(latents, timestep, context)
        return self._as_noise(predicted, latents, timestep), captured.take().to(self.latent_dtype)

    def _as_noise(self, predicted: torch.Tensor, latents: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        predicted = predicted.to(self.latent_dtype)
        if self.prediction_type == "epsilon":
            return predicted
        # v = √ᾱ·ε − √(1 − ᾱ)·x0 (Salimans and Ho, arXiv 2202.00512, appendix D).
        alpha = self.alphas[timestep].view(-1, 1, 1, 1)
        return alpha.sqrt() * predicted + (1 - alpha).sqrt() * latents

    def _evaluate(self, latents: torch.Tensor, timestep: torch.Tensor | int, context: torch.Tensor) -> torch.Tensor:
        self.cost.count(len(latents), grad=torch.is_grad_enabled())
        autocast = nullcontext() if self.dtype == self.latent_dtype else torch.autocast(self.device.type, self.dtype)
        with self._text.conditioned_on(context), autocast:
            predicted = self.unet(
                latents.to(self.dtype),
                self._timestep_tensors[timestep] if isinstance(timestep, int) else timestep,
                encoder_hidden_states=context.to(self.dtype).expand(len(latents), -1, -1),
            ).sample
        self.finite.watch(predicted, "the UNet's prediction")
        return predicted

    @property
    def loss_scale(self) -> float:
        """What a loss is multiplied by while its gradients are computed: fp16 would lose small ones."""
        return FP16_LOSS_SCALE if self.dtype == torch.float16 else 1.0

    def gradient(self, loss: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """∂loss/∂latents, computed of the loss times `loss_scale`."""
        return self.gradients(loss, [latents])[0]

    def gradients(self, loss: torch.Tensor, variables: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """∂loss/∂variable for each; see `gradient`."""
        gradients = torch.autograd.grad(loss * self.loss_scale, list(variables))
        for gradient in gradients:
            self.finite.watch(gradient, "the gradient of the loss")
        return [gradient / self.loss_scale for gradient in gradients]

    # --- DDIM ---------------------------------------------------------------------------------------------------

    @property
    def timestep_stride(self) -> int:
        """Δ, the distance of two inference timesteps in training timesteps."""
        return len(self.alphas) // self.num_inference_steps

    def actual_steps(self, strength: float) -> int:
        """A = round(s·S), the DDIM steps of an inversion of strength `s` in (0, 1], at least one."""
        return max(1, round(strength * self.num_inference_steps))

    def drag_timestep(self, steps: int) -> int:
        """t, the timestep that an inversion of `steps` steps reaches."""
        return self.timesteps[self.num_inference_steps - steps]

    def alpha(self, timestep: int) -> torch.Tensor:
        """ᾱ at a training timestep; below the first one it is ᾱ of the first."""
        return self.alphas[max(timestep, 0)]

    def invert(
        self, latents: torch.Tensor, context: torch.Tensor, steps: int, evaluations: int | None = None
    ) -> torch.Tensor:
        """DDIM inversion of clean latents `(B, C, h, w)` over the first `steps` timesteps (arXiv 2010.02502).

        With `evaluations`, as many of them are taken, for fewer and longer steps.
        """
        timesteps = self.timesteps[-steps:][::-1]
        alpha_from = self.alpha(0)
        with torch.inference_mode():
            for timestep in timesteps if evaluations is None else evenly_spread(timesteps, evaluations):
                alpha_to = self.alpha(timestep)
                latents = ddim_step(latents, self.noise(latents, timestep, context), alpha_from, alpha_to)
                alpha_from = alpha_to
        # What was made in inference mode could not be optimised.
        return latents.clone()

    def invert_image(self, image: torch.Tensor, prompt: str, steps: int) -> torch.Tensor:
        """`invert` of one picture `(1, 3, H, W)` in [-1, 1], remembered by content, prompt, steps and adapter.

        The cost is charged to the phase `inversion`, also when the result is remembered: what an edit is said to
        cost does not depend on which method ran before it.
        """
        digest = hashlib.sha256(image.detach().cpu().contiguous().numpy().data).hexdigest()
        key = (f"{tuple(image.shape)} {digest}", prompt, steps, self.adapter_key)
        if key in self._inversions:
            latents, cost = self._inversions[key]
            self.cost.charge("inversion", cost)
            return latents.clone()
        before = self.cost.snapshot("inversion")
        with self.cost.phase("inversion", self.device):
            latents = self.invert(self.encode(image), self.embed(prompt), steps)
            # What is not finite must not be remembered.
            self.finite.check()
        self._inversions[key] = (latents, self.cost.snapshot("inversion").minus(before))
        return latents.clone()

    def step_back(self, latents: torch.Tensor, noise: torch.Tensor, timestep: int) -> torch.Tensor:
        """One differentiable denoising step from `timestep` to the one below it; the background term uses it."""
        return ddim_step(latents, noise, self.alpha(timestep), self.alpha(timestep - self.timestep_stride))

    def sample_back(
        self, original: torch.Tensor, edited: torch.Tensor, context: torch.Tensor, steps: int
    ) -> torch.Tensor:
        """Denoise `edited` over `steps` DDIM steps, with the keys and values of `original` in late self-attention.

        Args:
            original: the inverted latent `(1, C, h, w)`, denoised alongside.
            edited: the optimised latent `(1, C, h, w)`.
            context: text embedding `(1, 77, C)`.
            steps: A, as in the inversion.

        Returns:
            The edited clean latent `(1, C, h, w)`.
        """
        latents = torch.cat([original, edited])
        with self.cost.phase("sampling", self.device), mutual_self_attention(self.unet), torch.inference_mode():
            for timestep in self.timesteps[-steps:]:
                noise = self.noise(latents, timestep, context)
                latents = self.scheduler.step(noise, timestep, latents, eta=0.0).prev_sample
        return latents[1:].clone()


def grid_features(features: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
    """Features `(B, C, h, w)` on the supervision grid `(B, C, H // 2, W // 2)` of a picture of `image_size` pixels."""
    height, width = image_size
    return F.interpolate(features, size=(height // 2, width // 2), mode="bilinear", align_corners=False)
