from __future__ import annotations

import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load as safetensors_load
from safetensors.torch import load_file, save_file

from rotationbench.diffusion import LoraSettings, attached_lora
from rotationbench.diffusion.lora import Crops, _attach, lora_key, scale_lora
from rotationbench.errors import NonFiniteError


def test_a_lora_learns_the_picture_and_is_reused_from_disk(golden_core, golden_sample, tmp_path):
    sample = golden_sample("rocket")
    settings = LoraSettings(rank=4, steps=6, batch_size=2, lr=5e-3)
    core = golden_core(cache_dir=tmp_path)
    image = core.image_tensor(sample.image)
    plain = core.invert_image(image, sample.prompt, 3)
    with attached_lora(core, image, sample.prompt, settings, seed=0):
        trained = core.invert_image(image, sample.prompt, 3)
    assert not torch.allclose(plain, trained)
    assert core.cost.phases["lora"].unet_calls == 6
    assert core.cost.phases["lora"].unet_images == 12
    (file,) = (tmp_path / "lora").glob("*.safetensors")
    written = file.stat().st_mtime_ns

    other = golden_core(cache_dir=tmp_path)
    with attached_lora(other, image, sample.prompt, settings, seed=0):
        again = other.invert_image(image, sample.prompt, 3)
    torch.testing.assert_close(again, trained, rtol=0, atol=0)
    assert file.stat().st_mtime_ns == written
    assert other.cost.phases["lora"].unet_calls == 6
    torch.testing.assert_close(other.invert_image(image, sample.prompt, 3), plain, rtol=0, atol=0)


def test_a_broken_lora_on_disk_is_trained_again(golden_core, golden_sample, tmp_path, caplog):
    sample = golden_sample("rocket")
    settings = LoraSettings(rank=2, steps=1, batch_size=1)
    core = golden_core(cache_dir=tmp_path)
    image = core.image_tensor(sample.image)
    with attached_lora(core, image, sample.prompt, settings, seed=0):
        pass
    (file,) = (tmp_path / "lora").glob("*.safetensors")
    file.write_bytes(b"not a LoRA")
    with attached_lora(core, image, sample.prompt, settings, seed=0):
        pass
    assert file.name in caplog.text
    assert file.stat().st_size > 1000


def test_lora_weights_start_as_specified(golden_core, golden_sample):
    core = golden_core()
    _attach(core, LoraSettings(rank=16), seed=0)
    first = torch.cat([p.flatten() for name, p in core.unet.named_parameters() if "lora_A" in name])
    second = torch.cat([p.flatten() for name, p in core.unet.named_parameters() if "lora_B" in name])
    assert first.std().item() == pytest.approx(1 / 16, rel=0.05)
    assert second.abs().max() == 0
    adapted = {
        name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in core.unet.named_parameters() if "lora_A" in name
    }
    assert adapted == {"to_q", "to_k", "to_v", "0"}
    # Four projections in each of 16 self- and 16 cross-attention layers.
    assert sum("lora_A" in name for name, _ in core.unet.named_parameters()) == 128


def test_crops_of_a_long_picture_are_squares_encoded_once(golden_core):
    core = golden_core()
    crops = Crops(core, torch.rand(1, 3, 32, 64) * 2 - 1, "square")
    generator = torch.Generator().manual_seed(0)
    assert {crops.draw(generator).shape for _ in range(60)} == {(1, 4, 4, 4)}
    assert len(crops.encoded) == 5
    full = Crops(core, torch.zeros(1, 3, 32, 64), "full")
    assert full.draw(generator).shape == (1, 4, 4, 8)


SETTINGS = LoraSettings(rank=2, steps=1, batch_size=1)


def trained_weights(core, sample) -> dict[str, torch.Tensor]:
    """The LoRA of a sample, from the cache or trained."""
    with attached_lora(core, core.image_tensor(sample.image), sample.prompt, SETTINGS, seed=0):
        return {name: value.clone() for name, value in core.unet.named_parameters() if "lora_" in name}


def without_first(tensors):
    return dict(list(tensors.items())[1:])


def renamed(tensors):
    return {f"{name}_2": tensor for name, tensor in tensors.items()}


def misshapen(tensors):
    return {name: torch.zeros(*tensor.shape, 2) for name, tensor in tensors.items()}


def with_nan(tensors):
    return {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}


def doubled(tensors):
    return {name: 2 * tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tensors: {}, "other tensors"),
        (without_first, "other tensors"),
        (renamed, "other tensors"),
        (misshapen, "torch.float32 ("),
        (with_nan, "not finite"),
        (doubled, "another checksum"),
    ],
    ids=["empty", "half", "renamed", "misshapen", "not finite", "other weights"],
)
def test_kind_15_a_lora_that_is_not_the_one_that_was_saved(golden_core, golden_sample, tmp_path, caplog, change, fault):
    core, sample = golden_core(cache_dir=tmp_path), golden_sample("rocket").resized((64, 64))
    expected = trained_weights(core, sample)
    (file,) = (tmp_path / "lora").glob("*.safetensors")
    whole = file.read_bytes()
    with safe_open(file, framework="pt") as handle:
        metadata = handle.metadata()
    save_file(change(load_file(file)), file, metadata)

    again = trained_weights(core, sample)
    assert file.name in caplog.text and fault in caplog.text
    for name, tensor in expected.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)
    # Only the training's time may differ.
    assert load_file(file).keys() == safetensors_load(whole).keys()


def test_kind_15_a_lora_under_another_ones_name(golden_core, golden_sample, tmp_path, caplog):
    core = golden_core(cache_dir=tmp_path)
    trained_weights(core, golden_sample("rocket").resized((64, 64)))
    (rocket,) = (tmp_path / "lora").glob("*.safetensors")
    expected = trained_weights(core, golden_sample("cat").resized((64, 64)))
    (cat,) = set((tmp_path / "lora").glob("*.safetensors")) - {rocket}
    shutil.copy(rocket, cat)
    again = trained_weights(core, golden_sample("cat").resized((64, 64)))
    assert f"a LoRA with the key {rocket.stem}" in caplog.text
    for name, tensor in expected.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)


def test_kind_9_a_lora_that_is_not_finite_is_neither_used_nor_kept(golden_core, golden_sample, tmp_path):
    core, sample = golden_core(cache_dir=tmp_path), golden_sample("rocket").resized((64, 64))
    settings = LoraSettings(rank=2, steps=2, batch_size=1, lr=1e9)
    with (
        pytest.raises(NonFiniteError, match=r"phase lora.*expected finite numbers, got NaN or infinity"),
        attached_lora(core, core.image_tensor(sample.image), sample.prompt, settings, seed=0),
    ):
        pytest.fail("the block was run")
    assert not list((tmp_path / "lora").glob("*.safetensors"))
    assert core.adapter_key is None
    assert not [name for name, _ in core.unet.named_parameters() if "lora_" in name]


def test_kind_14_a_lora_belongs_to_the_configuration_too(golden_core, golden_sample):
    core, sample = golden_core(), golden_sample("rocket").resized((64, 64))
    image = core.image_tensor(sample.image)
    before = lora_key(core, image, sample.prompt, SETTINGS, 0)
    core.model_hash = "the same weights that predict velocities"
    assert lora_key(core, image, sample.prompt, SETTINGS, 0) != before


def test_what_a_lora_costs_is_its_training(golden_core, golden_sample, tmp_path):
    core, sample = golden_core(cache_dir=tmp_path), golden_sample("rocket").resized((64, 64))
    trained_weights(core, sample)
    trained = core.cost.of("lora")
    core.start_edit()
    trained_weights(core, sample)
    assert core.cost.of("lora") == trained
    assert set(core.cost.phases) == {"lora"}


def test_a_lora_is_weighed(golden_core, golden_sample):
    core, sample = golden_core(), golden_sample("rocket").resized((64, 64))
    image = core.image_tensor(sample.image)
    latents, context = core.encode(image), core.embed(sample.prompt)
    plain = core.noise(latents, 301, context).detach()
    scale_lora(core, 0.0)
    with attached_lora(core, image, sample.prompt, LoraSettings(rank=2, steps=2, batch_size=1, lr=1e-2), seed=0):
        assert not torch.allclose(core.noise(latents, 301, context), plain)
        scale_lora(core, 0.0)
        torch.testing.assert_close(core.noise(latents, 301, context), plain)
