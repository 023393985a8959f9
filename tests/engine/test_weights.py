from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
import torch
from drive import Row, Shelf

from studio.engine import weights
from studio.errors import EngineError

CPU = torch.device("cpu")


def row(folder: Path) -> Row:
    return Row(folder.name, "sd15", folder, folder)


@pytest.fixture
def copy(shelf: Shelf, tmp_path: Path) -> Path:
    shutil.copytree(shelf.models["sd"], tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler"])
def test_a_part_that_is_missing_is_named(copy: Path, part: str) -> None:
    shutil.rmtree(copy / part)
    with pytest.raises(EngineError, match=f"copy has no {part}"):
        weights.load(row(copy), CPU, torch.float32)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_file_cut_short_is_told_without_its_path(copy: Path, part: str) -> None:
    (file,) = (copy / part).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(EngineError, match=f"{part} could not be read") as caught:
        weights.load(row(copy), CPU, torch.float32)
    assert str(copy) not in caught.value.message + caught.value.hint


def test_pickled_weights_are_never_read(copy: Path) -> None:
    (file,) = (copy / "unet").glob("*.safetensors")
    torch.save(tiny.unet().state_dict(), copy / "unet" / "diffusion_pytorch_model.bin")
    file.unlink()
    with pytest.raises(EngineError, match="unet could not be read"):
        weights.load(row(copy), CPU, torch.float32)


def test_a_class_named_in_the_folder_is_not_looked_up(copy: Path) -> None:
    config = copy / "unet" / "config.json"
    config.write_text(config.read_text().replace("UNet2DConditionModel", "Evil"))
    assert type(weights.load(row(copy), CPU, torch.float32).unet).__name__ == "UNet2DConditionModel"


def test_files_of_the_fp16_variant_are_read_where_there_are_no_others(copy: Path) -> None:
    whole = weights.bytes_needed(copy, torch.float32)
    for file in copy.rglob("*.safetensors"):
        shutil.copy(file, file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    assert weights.bytes_needed(copy, torch.float32) == whole  # the plain ones only
    for file in copy.rglob("*.safetensors"):
        if ".fp16" not in file.name:
            file.unlink()
    assert weights.bytes_needed(copy, torch.float32) == whole
    assert weights.load(row(copy), CPU, torch.float32).weight_bytes == whole


def test_weights_come_in_the_working_dtype(copy: Path) -> None:
    bundle = weights.load(row(copy), CPU, torch.bfloat16)
    assert {bundle.unet.dtype, bundle.vae.dtype} == {torch.bfloat16}
    assert bundle.text_encoders[0].dtype == torch.float32
    assert bundle.weight_bytes == weights.bytes_needed(copy, torch.bfloat16)


def test_the_vae_of_an_sdxl_model_stays_in_float32_beside_float16(shelf: Shelf) -> None:
    bundle = weights.load(row(shelf.models["xl"]), CPU, torch.float16)
    assert (bundle.unet.dtype, bundle.vae.dtype) == (torch.float16, torch.float32)


def test_a_device_that_is_not_there_is_refused_with_the_count() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(EngineError, match=f"cuda:{count} was asked for; {count} CUDA"):
        weights.pick_device(f"cuda:{count}")
    assert weights.pick_device("auto").type in {"cpu", "cuda"}
