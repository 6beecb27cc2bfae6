"""Checkpoints in folders and in one file; those that are not whole, not finite or of another architecture are refused
in one line that names the part."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tests_helpers import GOLDEN

from rotationbench.config import project_root
from rotationbench.diffusion import StableDiffusion
from rotationbench.diffusion.loading import hash_model, load_components
from rotationbench.errors import CheckpointError

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """The recorded checkpoint, to be broken."""
    folder = tmp_path / "broken"
    shutil.copytree(GOLDEN / "tinyA", folder, copy_function=os.link)
    return folder


def write(path: Path, content: bytes) -> None:
    """Replace a file that may be linked to the recorded one."""
    path.unlink()
    path.write_bytes(content)


def tokenizer_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))


def change_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    write(path, json.dumps({key: value for key, value in content.items() if value != "absent"}).encode())


def change_tensors(path: Path, change) -> str:
    """Save what `change` makes of the tensors; returns the first tensor's name."""
    tensors = dict(sorted(load_file(path).items()))
    first = next(iter(tensors))
    path.unlink()
    save_file(change(tensors), path)
    return first


def load(folder: Path, **arguments: object):
    return load_components(str(folder), **({"vae": None, "dtype": torch.float32} | arguments))


def refusal(folder: Path, **arguments: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def without_first(tensors):
    return dict(list(tensors.items())[1:])


def renamed_first(tensors):
    (name, tensor), *others = tensors.items()
    return {f"{name}_2": tensor, **dict(others)}


def with_another(tensors):
    return tensors | {"another.weight": torch.zeros(2)}


def of_another_shape(tensors):
    (name, tensor), *others = tensors.items()
    return {name: torch.zeros(*tensor.shape, 2), **dict(others)}


def with_nan(tensors):
    name, tensor = next((name, tensor) for name, tensor in tensors.items() if tensor.numel() > 1)
    changed = tensor.clone()
    changed.view(-1)[-1] = torch.nan
    return tensors | {name: changed}


WEIGHT_FILES = {"unet": f"unet/{WEIGHTS}", "vae": f"vae/{WEIGHTS}", "text_encoder": "text_encoder/model.safetensors"}


parts = pytest.mark.parametrize("part", list(WEIGHT_FILES))


@pytest.mark.parametrize("folder", [GOLDEN / "tinyA", project_root() / "data" / "minisd"], ids=lambda path: path.name)
def test_whole_checkpoints_are_loaded(folder):
    assert load(folder).unet.config.cross_attention_dim == load(folder).text_encoder.config.hidden_size


@parts
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_first, "lacks {first}"),
        (renamed_first, "lacks {first}"),
        (with_another, "also holds another.weight"),
        (lambda tensors: {}, "lacks {first}"),
        (of_another_shape, ""),
    ],
    ids=["missing", "renamed", "left over", "empty", "misshapen"],
)
def test_kind_10_tensors_that_are_missing_or_left_over(checkpoint, part, change, fault):
    first = change_tensors(checkpoint / WEIGHT_FILES[part], change)
    message = refusal(checkpoint)
    assert message.startswith(f"{checkpoint}: {part}: expected ")
    assert fault.format(first=first.removeprefix("text_model.")) in message


@parts
def test_kind_30_files_that_end_too_early(checkpoint, part):
    file = checkpoint / WEIGHT_FILES[part]
    write(file, file.read_bytes()[: file.stat().st_size // 2])
    assert refusal(checkpoint).startswith(f"{checkpoint}: {part}: expected ")


@pytest.mark.parametrize(
    "file",
    ["unet/config.json", "vae/config.json", "text_encoder/config.json", "scheduler/scheduler_config.json"],
)
@pytest.mark.parametrize("content", [b"[]", b"null", b"{", b"", b'"text"', b"\xff\xfe"])
def test_kind_30_configurations_that_are_none(checkpoint, file, content):
    write(checkpoint / file, content)
    assert refusal(checkpoint).startswith(f"{checkpoint}: {file.split('/')[0]}: expected ")


@pytest.mark.parametrize(
    "file",
    [
        f"unet/{WEIGHTS}",
        f"vae/{WEIGHTS}",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_kind_30_files_that_are_not_there(checkpoint, file):
    (checkpoint / file).unlink()
    assert refusal(checkpoint).startswith(f"{checkpoint}: {file.split('/')[0]}: expected ")


def test_kind_10_a_tokenizer_without_its_tokens(checkpoint):
    for file in (checkpoint / "tokenizer").iterdir():
        file.unlink()
    assert f"{checkpoint}: tokenizer: expected " in refusal(checkpoint)


def test_kind_10_a_tokenizer_with_other_tokens(checkpoint):
    shutil.rmtree(checkpoint / "tokenizer")
    shutil.copytree(project_root() / "data" / "minisd" / "tokenizer", checkpoint / "tokenizer")
    others = len(tokenizer_of(checkpoint)["model"]["vocab"])
    assert f"tokenizer: expected the 514 tokens that the text encoder knows, got {others}" in refusal(checkpoint)


def test_kind_10_a_tokenizer_without_its_merges(tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(project_root() / "data" / "minisd", folder, copy_function=os.link)
    tokenizer = tokenizer_of(folder)
    tokens, merges = len(tokenizer["model"]["vocab"]), len(tokenizer["model"]["merges"])
    tokenizer["model"]["merges"] = []
    write(folder / "tokenizer" / "tokenizer.json", json.dumps(tokenizer).encode())
    write(folder / "tokenizer" / "merges.txt", b"#version: 0.2\n")
    assert f"tokenizer: expected at least {merges} merges for its {tokens} tokens, got 0" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("beta_start", 0.0001),
        ("beta_start", "absent"),
        ("beta_end", 0.02),
        ("beta_schedule", "linear"),
        ("num_train_timesteps", 500),
        ("trained_betas", [0.1, 0.2]),
        ("rescale_betas_zero_snr", True),
        ("set_alpha_to_one", True),
        ("steps_offset", 0),
        ("clip_sample", True),
        ("thresholding", True),
        ("prediction_type", "sample"),
        ("timestep_spacing", "trailing"),
        ("use_flow_sigmas", True),
    ],
)
def test_kind_10_a_schedule_that_the_core_does_not_follow(checkpoint, key, value):
    change_json(checkpoint / "scheduler" / "scheduler_config.json", **{key: value})
    assert f"{checkpoint}: scheduler: expected {key} " in refusal(checkpoint)


def test_the_scheduler_that_stable_diffusion_1_5_was_published_with_is_followed(checkpoint):
    published = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }
    write(checkpoint / "scheduler" / "scheduler_config.json", json.dumps(published).encode())
    assert load(checkpoint).scheduler_config == published


@pytest.mark.parametrize(
    ("part", "changes", "expected"),
    [
        ("unet", {"_class_name": "FluxTransformer2DModel"}, "expected UNet2DConditionModel"),
        ("unet", {"in_channels": 9}, "expected as many channels in as out"),
        ("unet", {"num_class_embeds": 10}, "expected num_class_embeds None"),
        ("unet", {"class_embed_type": "timestep"}, "expected class_embed_type None"),
        ("unet", {"addition_embed_type": "text_time"}, "expected addition_embed_type None"),
        ("unet", {"encoder_hid_dim": 8}, "expected encoder_hid_dim None"),
        ("unet", {"cross_attention_dim": 64}, "expected cross_attention_dim 32, the width of the text encoder, got 64"),
        ("unet", {"cross_attention_dim": [32, 32, 64, 32]}, "expected cross_attention_dim 32"),
        ("unet", {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}, "expected down_block_types"),
        ("unet", {"mid_block_type": None}, "expected a mid block"),
        ("vae", {"_class_name": "AutoencoderDC"}, "expected AutoencoderKL or AutoencoderTiny"),
        ("vae", {"latent_channels": 16}, "expected 4 latent channels, as the UNet takes, got 16"),
        ("vae", {"in_channels": 4}, "expected in_channels 3"),
        ("vae", {"shift_factor": 0.1}, "shift_factor"),
        ("vae", {"latents_mean": [0.1] * 4}, "latents_mean"),
    ],
)
def test_kind_11_other_architectures(checkpoint, part, changes, expected):
    change_json(checkpoint / part / "config.json", **changes)
    message = refusal(checkpoint)
    assert message.startswith(f"{checkpoint}: {part}: ") and expected in message


def test_kind_11_a_unet_with_less_attention(checkpoint):
    config = UNet2DConditionModel.load_config(checkpoint, subfolder="unet")
    shutil.rmtree(checkpoint / "unet")
    UNet2DConditionModel.from_config(config, layers_per_block=1).save_pretrained(checkpoint / "unet")
    assert "unet: expected the 16 self-attention layers" in refusal(checkpoint)


def autoencoder(folder: Path, **changes: object) -> Path:
    """A small autoencoder with random weights."""
    config = AutoencoderKL.load_config(GOLDEN / "tinyA", subfolder="vae") | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoencoderKL.from_config(config).save_pretrained(folder)
    return folder


def test_kind_11_a_bad_vae_is_blamed_on_its_setting(tmp_path):
    wide = autoencoder(tmp_path / "wide", latent_channels=16)
    message = refusal(GOLDEN / "tinyA", vae=str(wide))
    assert message == f"model.vae={wide}: expected 4 latent channels, as the UNet takes, got 16."
    change_tensors(wide / WEIGHTS, without_first)
    change_json(wide / "config.json", latent_channels=4)
    assert refusal(GOLDEN / "tinyA", vae=str(wide)).startswith(f"model.vae={wide}: expected ")
    change_json(wide / "config.json", _class_name="UNet2DConditionModel")
    assert refusal(GOLDEN / "tinyA", vae=str(wide)).startswith(f"model.vae={wide}: expected AutoencoderKL")
    missing = tmp_path / "nowhere"
    assert refusal(GOLDEN / "tinyA", vae=str(missing)).startswith(f"model.vae={missing}: expected ")


def test_sixteen_latent_channels_are_fine_where_both_have_them(checkpoint, golden_sample):
    config = UNet2DConditionModel.load_config(checkpoint, subfolder="unet")
    shutil.rmtree(checkpoint / "unet")
    shutil.rmtree(checkpoint / "vae")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel.from_config(config, in_channels=16, out_channels=16).save_pretrained(checkpoint / "unet")
    autoencoder(checkpoint / "vae", latent_channels=16)
    core = StableDiffusion.from_pretrained(str(checkpoint), device="cpu", num_inference_steps=4)
    sample = golden_sample("cat").resized((64, 64))

    from methods.dragdiffusion import DragDiffusion
    from methods.sde_drag import SdeDrag
    from rotationbench.diffusion import LoraSettings

    lora = LoraSettings(rank=2, steps=1, batch_size=1)
    dragged = DragDiffusion(max_steps=1, lora=lora).edit(core, sample)
    assert dragged.trace["optimized"].shape == (1, 16, 8, 8)
    assert SdeDrag(steps=4, t0=0.5, lora=None).edit(core, sample).edited.shape == (1, 3, 64, 64)


@parts
def test_kind_9_weights_that_are_not_finite(checkpoint, part):
    change_tensors(checkpoint / WEIGHT_FILES[part], with_nan)
    assert f"{checkpoint}: {part}: expected finite weights in torch.float32, got NaN or infinity in" in refusal(
        checkpoint
    )


def test_kind_9_weights_that_overflow_the_number_type(checkpoint):
    change_tensors(
        checkpoint / WEIGHT_FILES["unet"], lambda tensors: tensors | {"conv_in.bias": torch.full((16,), 1e6)}
    )
    assert load(checkpoint).unet.conv_in.bias.max() == 1e6
    assert "expected finite weights in torch.float16, got NaN or infinity in conv_in.bias" in refusal(
        checkpoint, dtype=torch.float16
    )


@pytest.mark.parametrize("factor", [0, -0.18, float("nan"), float("inf"), "0.18", None, True])
def test_kind_9_a_scaling_factor_that_is_none(checkpoint, factor):
    change_json(checkpoint / "vae" / "config.json", scaling_factor=factor)
    assert f"{checkpoint}: vae: expected a positive scaling_factor" in refusal(checkpoint)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("scheduler/scheduler_config.json", {"prediction_type": "v_prediction"}),
        ("unet/config.json", {"attention_head_dim": 8}),
        ("vae/config.json", {"scaling_factor": 0.2}),
        ("text_encoder/config.json", {"hidden_act": "gelu"}),
    ],
)
def test_kind_14_the_configuration_is_part_of_the_model(checkpoint, file, changes):
    def hashes() -> tuple[str, str]:
        core = StableDiffusion.from_pretrained(str(checkpoint), device="cpu")
        return core.weights_hash, core.model_hash

    before = hashes()
    change_json(checkpoint / file, **changes)
    after = hashes()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_kind_14_the_tokenizer_is_part_of_the_model_and_its_use_is_not():
    parts = load(GOLDEN / "tinyA")
    before = hash_model("weights", parts.configuration())
    parts.tokenizer("a cat", padding="max_length", max_length=77, truncation=True)
    assert hash_model("weights", parts.configuration()) == before
    parts.tokenizer.add_tokens(["unicorn"])
    assert hash_model("weights", parts.configuration()) != before


def test_another_autoencoder_can_be_named(golden_core, golden_sample, tmp_path):
    torch.manual_seed(0)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    tiny.save_pretrained(tmp_path / "taesd")
    core = StableDiffusion.from_pretrained(str(GOLDEN / "tinyA"), vae=str(tmp_path / "taesd"), device="cpu")
    assert core.vae_factor == 8
    image = core.image_tensor(golden_sample("cat").image)
    assert core.encode(image).shape == (1, 4, 16, 16)
    assert core.decode(core.encode(image)).shape == (1, 3, 128, 128)
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(core.sample_posterior(image, generator), core.encode(image))
    assert core.weights_hash != golden_core().weights_hash


def test_bad_checkpoints_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        StableDiffusion.from_pretrained(str(tmp_path / "nowhere"), device="cpu")
    (tmp_path / "half" / "unet").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="no subfolder vae, text_encoder, tokenizer, scheduler"):
        StableDiffusion.from_pretrained(str(tmp_path / "half"), device="cpu")
    (tmp_path / "model.ckpt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="could run code"):
        StableDiffusion.from_pretrained(str(tmp_path / "model.ckpt"), device="cpu")


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
