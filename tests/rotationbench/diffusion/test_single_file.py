"""A checkpoint in the original single-file layout, made from the recorded one, loads as the same model."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from rotationbench.config import project_root
from rotationbench.diffusion import StableDiffusion
from rotationbench.errors import CheckpointError

CHECKPOINT = project_root() / "tests" / "golden" / "tinyA"

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTER = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_block(path: list[str]) -> str:
    """The original name of a block's part: `input_blocks.4.1` for the path of down_blocks.1.attentions.0."""
    side, block, kind, index = path[0], int(path[1]), path[2], int(path[3])
    if side == "down_blocks":
        # Three entries per level: two layers and the downsampler; the first entry of all is conv_in.
        entry = 1 + 3 * block + (2 if kind == "downsamplers" else index)
        place = {"resnets": "0", "attentions": "1", "downsamplers": "0.op"}[kind]
        return f"input_blocks.{entry}.{place}"
    entry = 3 * block + (2 if kind == "upsamplers" else index)
    # The upsampler comes behind the attention, where there is one.
    place = {"resnets": "0", "attentions": "1", "upsamplers": "1.conv" if block == 0 else "2.conv"}[kind]
    return f"output_blocks.{entry}.{place}"


def original_unet_name(name: str) -> str:
    for ours, theirs in OUTER.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    parts = name.split(".")
    if parts[0] == "mid_block":
        prefix = f"middle_block.{ {'resnets': 2 * int(parts[2]), 'attentions': 1}[parts[1]] }"
        kind, rest = parts[1], parts[3:]
    else:
        prefix = unet_block(parts)
        kind, rest = parts[2], parts[4:]
    if kind == "resnets":
        rest = [RESNET[rest[0]], *rest[1:]]
    elif kind.endswith("samplers"):
        rest = rest[1:]
    return ".".join([prefix, *rest])


VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_vae_name(name: str, levels: int) -> str:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in VAE_ATTENTION.items():
            name = name.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    for level in range(levels):
        name = name.replace(f"down_blocks.{level}.resnets.", f"down.{level}.block.")
        name = name.replace(f"down_blocks.{level}.downsamplers.0", f"down.{level}.downsample")
        # The decoder's levels are counted from the coarsest here and from the finest in the original.
        name = name.replace(f"up_blocks.{level}.resnets.", f"up.{levels - 1 - level}.block.")
        name = name.replace(f"up_blocks.{level}.upsamplers.0", f"up.{levels - 1 - level}.upsample")
    return name


@pytest.fixture(scope="module")
def single_file(tmp_path_factory):
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(CHECKPOINT / "unet" / "diffusion_pytorch_model.safetensors").items():
        tensors[f"model.diffusion_model.{original_unet_name(name)}"] = tensor
    for name, tensor in load_file(CHECKPOINT / "vae" / "diffusion_pytorch_model.safetensors").items():
        # Linear layers of the autoencoder's attention are 1×1 convolutions in the original.
        linear = "attentions.0.to_" in name and name.endswith("weight")
        tensors[f"first_stage_model.{original_vae_name(name, 4)}"] = tensor[..., None, None] if linear else tensor
    for name, tensor in load_file(CHECKPOINT / "text_encoder" / "model.safetensors").items():
        path = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"cond_stage_model.transformer.{path}"] = tensor
    file = tmp_path_factory.mktemp("single") / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


def test_a_single_file_is_the_same_model(single_file):
    folder = StableDiffusion.from_pretrained(str(CHECKPOINT), device="cpu", num_inference_steps=10)
    single = StableDiffusion.from_pretrained(
        str(single_file), device="cpu", single_file_config=str(CHECKPOINT), num_inference_steps=10
    )
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    context = folder.embed("a photo of a cat")
    torch.testing.assert_close(single.embed("a photo of a cat"), context)
    with torch.no_grad():
        torch.testing.assert_close(single.noise(latents, 301, context), folder.noise(latents, 301, context))
    torch.testing.assert_close(single.encode(image), folder.encode(image))
    torch.testing.assert_close(single.decode(latents), folder.decode(latents))
    assert single.weights_hash == folder.weights_hash


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    file = tmp_path / "broken.safetensors"
    file.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"broken\.safetensors"):
        StableDiffusion.from_pretrained(str(file), device="cpu", single_file_config=str(CHECKPOINT))
