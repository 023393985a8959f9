"""One adapter in every format there is, and files that must be refused before anything is touched."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import convert_state_dict_to_kohya
from drive import Shelf
from safetensors.torch import save_file
from torch import Tensor, nn

from studio.engine.lora import Adapter, Bank
from studio.engine.lora_files import read_adapter
from studio.errors import BadRequest, NotFound, StudioError, UnsafeFormat, WrongBase

TARGETS = (".to_q", ".to_k", ".to_v", ".to_out.0", ".conv1", ".proj_in", "_proj", ".fc1", ".ff.net.2")
KOHYA_PARTS = {"unet": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


@pytest.fixture(scope="module")
def sd(shelf: Shelf) -> Any:
    return StableDiffusionPipeline.from_pretrained(shelf.models["sd"], safety_checker=None)


@pytest.fixture(scope="module")
def xl(shelf: Shelf) -> Any:
    return StableDiffusionXLPipeline.from_pretrained(shelf.models["xl"])


def targets(pipe: Any, unet_only: bool = False) -> dict[str, nn.Module]:
    """`part.path` -> module: attention, feed-forward, projections and convolutions of all networks."""
    found: dict[str, nn.Module] = {}
    for part in ("unet", "text_encoder", "text_encoder_2")[: 1 if unet_only else 3]:
        network = getattr(pipe, part, None)
        for path, module in network.named_modules() if network is not None else ():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and path.endswith(TARGETS):
                found[f"{part}.{path}"] = module
    return found


def weights_of(pipe: Any, rank: int = 4, unet_only: bool = False) -> dict[str, Tensor]:
    """A LoRA in the PEFT naming of diffusers: `unet.path.lora_A.weight`."""
    generator = torch.Generator().manual_seed(7)
    tensors: dict[str, Tensor] = {}
    for name, module in targets(pipe, unet_only).items():
        shape = module.weight.shape
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, *shape[1:], generator=generator) * 0.2
        ones = (1,) * (len(shape) - 2)
        tensors[f"{name}.lora_B.weight"] = torch.randn(shape[0], rank, *ones, generator=generator) * 0.2
    return tensors


def as_kohya(tensors: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        path, _, side = rest.rpartition(".lora_")
        if part != "unet" and not path.startswith("text_model."):
            path = f"text_model.{path}"  # files are named after the older class
        stem = KOHYA_PARTS[part] + path.replace(".", "_")
        renamed[f"{stem}.lora_{'down' if side.startswith('A') else 'up'}.weight"] = tensor
        renamed[f"{stem}.alpha"] = torch.tensor(alpha)
    return renamed


def read(pipe: Any, path: Path, base: str = "sd15") -> Adapter:
    encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]
    return read_adapter(path, pipe.unet, [encoder for encoder in encoders if encoder is not None], base)


def write(path: Path, tensors: Mapping[str, Tensor], notes: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, notes)
    return path


def products(adapter: Adapter) -> dict[str, Tensor]:
    """What is added to each weight."""
    return {
        f"{part}.{path}": delta.scale * delta.up.flatten(1) @ delta.down.flatten(1)
        for part, deltas in adapter.parts.items()
        for path, delta in deltas.items()
    }


def assert_same(given: Adapter, wanted: Mapping[str, Tensor]) -> None:
    made = products(given)
    assert made.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(made[name], wanted[name])


def expected(tensors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    downs = {name.removesuffix(".lora_A.weight"): tensor for name, tensor in tensors.items() if "_A." in name}
    return {
        name: scale * tensors[f"{name}.lora_B.weight"].flatten(1) @ down.flatten(1)
        for name, down in downs.items()
    }


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_diffusers_and_kohya_files_give_the_same_adapter(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pipe = request.getfixturevalue(kind)
    tensors = weights_of(pipe)
    plain = read(pipe, write(tmp_path / "plain", tensors))
    assert_same(plain, expected(tensors, 1.0))
    assert plain.matched == plain.total == len(targets(pipe)) and plain.rank == 4
    kohya = read(pipe, write(tmp_path / "kohya", as_kohya(tensors, alpha=2.0)))
    assert_same(kohya, expected(tensors, 0.5))
    assert (kohya.matched, kohya.total) == (plain.matched, plain.total)


def test_kohya_files_with_the_block_names_of_sdxl_training_are_read(xl: Any, tmp_path: Path) -> None:
    """kohya trains SDXL on the original network, whose blocks are numbered through."""
    block, underscored = "transformer_blocks.0.attn1.to_q", "transformer_blocks_0_attn1_to_q"
    places = {
        f"input_blocks_1_1_{underscored}": f"down_blocks.0.attentions.0.{block}",
        f"middle_block_1_{underscored}": f"mid_block.attentions.0.{block}",
        "middle_block_0_in_layers_2": "mid_block.resnets.0.conv1",
    }
    tensors: dict[str, Tensor] = {}
    for stem, place in places.items():
        shape = xl.unet.get_submodule(place).weight.shape
        tensors[f"lora_unet_{stem}.lora_down.weight"] = torch.randn(2, *shape[1:])
        tensors[f"lora_unet_{stem}.lora_up.weight"] = torch.randn(shape[0], 2, *(1,) * (len(shape) - 2))
        tensors[f"lora_unet_{stem}.alpha"] = torch.tensor(1.0)
    adapter = read(xl, write(tmp_path / "a", tensors), "sdxl")
    assert set(adapter.parts["unet"]) == set(places.values())
    assert {delta.scale for delta in adapter.parts["unet"].values()} == {0.5}


def test_files_of_peft_itself_are_read(sd: Any, tmp_path: Path) -> None:
    tensors = weights_of(sd, unet_only=True)
    named = {name.replace("unet.", "base_model.model."): tensor for name, tensor in tensors.items()}
    assert_same(read(sd, write(tmp_path / "a", named)), expected(tensors, 1.0))
    named = {name.replace(".weight", ".default.weight"): tensor for name, tensor in named.items()}
    assert_same(read(sd, write(tmp_path / "b", named)), expected(tensors, 1.0))


def test_files_of_old_diffusers_are_read(sd: Any, tmp_path: Path) -> None:
    attention = {name: tensor for name, tensor in weights_of(sd, unet_only=True).items() if ".attn" in name}
    old = {}
    for name, tensor in attention.items():
        name = name.replace(".attn1.", ".attn1.processor.").replace(".attn2.", ".attn2.processor.")
        name = name.replace(".to_out.0.", ".to_out.").replace(".lora_A.", "_lora.down.")
        old[name.replace(".lora_B.", "_lora.up.").removeprefix("unet.")] = tensor
    assert_same(read(sd, write(tmp_path / "old", old)), expected(attention, 1.0))


def test_alpha_noted_by_peft_counts(sd: Any, tmp_path: Path) -> None:
    tensors = weights_of(sd)
    special = "down_blocks.0.attentions.0.proj_in"
    notes = {"unet.lora_alpha": 8, "unet.alpha_pattern": {special: 1}, "text_encoder.lora_alpha": 2}
    adapter = read(sd, write(tmp_path / "a", tensors, {"lora_adapter_metadata": json.dumps(notes)}))
    scales = {path: delta.scale for path, delta in adapter.parts["unet"].items()}
    assert scales.pop(special) == 0.25 and set(scales.values()) == {2.0}
    assert {delta.scale for delta in adapter.parts["text_encoder"].values()} == {0.5}


@pytest.mark.parametrize(
    "notes", ["[1]", "nonsense", '{"unet.lora_alpha": "many"}', '{"unet.lora_alpha": NaN}']
)
def test_notes_that_make_no_sense_are_passed_over(sd: Any, tmp_path: Path, notes: str) -> None:
    tensors = weights_of(sd)
    adapter = read(sd, write(tmp_path / "a", tensors, {"lora_adapter_metadata": notes}))
    assert_same(adapter, expected(tensors, 1.0))


@pytest.mark.parametrize("kind", ["sd", "xl"])
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_pictures_and_text_follow_diffusers_with_either_format(
    kind: str, alpha: float | None, tmp_path: Path, shelf: Shelf, request: pytest.FixtureRequest
) -> None:
    """load_lora_weights + set_adapters of the pipeline against the banks, through the networks themselves."""
    ours = request.getfixturevalue(kind)
    tensors = weights_of(ours)
    file = write(tmp_path / "style.safetensors", tensors if alpha is None else as_kohya(tensors, alpha))
    theirs = type(ours).from_pretrained(shelf.models[kind])
    theirs.load_lora_weights(tmp_path, weight_name=file.name, adapter_name="brand_style")
    theirs.set_adapters(["brand_style"], [0.7])
    adapter = read(ours, file)
    ids = torch.arange(77)[None] % 90
    for part, deltas in adapter.parts.items():
        mine, other = getattr(ours, part), getattr(theirs, part)
        given: dict[str, Any] = {"input_ids": ids}
        if part == "unet":
            given = {
                "sample": torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)),
                "timestep": torch.tensor([500]),
                "encoder_hidden_states": torch.ones(1, 77, mine.config.cross_attention_dim),
                "added_cond_kwargs": {"text_embeds": torch.ones(1, tiny.DIM), "time_ids": torch.ones(1, 6)},
            }
        bank = Bank(mine, part)
        bank.add("style", adapter)
        with torch.no_grad(), bank.weights([{"style": 0.7}]):
            made, wanted = mine(**given)[0], other(**given)[0]
        with torch.no_grad():
            base = mine(**given)[0]
        bank.remove("style")
        assert deltas and (made - wanted).norm() / wanted.norm() < 1e-4
        assert (base - wanted).norm() / wanted.norm() > 1e-3


def refused(pipe: Any, path: Path, base: str = "sd15") -> StudioError:
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    classes = [type(module) for module in pipe.unet.modules()]
    with pytest.raises(StudioError) as caught:
        read(pipe, path, base)
    assert [type(module) for module in pipe.unet.modules()] == classes
    assert all(torch.equal(tensor, before[name]) for name, tensor in pipe.unet.state_dict().items())
    assert str(path.parent) not in caught.value.message + caught.value.hint
    return caught.value


def sdxl_kohya() -> dict[str, Tensor]:
    """Names and widths of a real SDXL LoRA: ldm blocks, text rows 2048 wide."""
    tensors = {}
    for block in (4, 5, 7, 8):
        for name, width in (("attn1_to_q", 640), ("attn2_to_k", 2048), ("attn2_to_v", 2048)):
            stem = f"lora_unet_input_blocks_{block}_1_transformer_blocks_0_{name}"
            tensors[f"{stem}.lora_down.weight"] = torch.zeros(4, width)
            tensors[f"{stem}.lora_up.weight"] = torch.zeros(640, 4)
            tensors[f"{stem}.alpha"] = torch.tensor(4.0)
    return tensors


def test_an_sdxl_file_on_an_sd_model_says_so_with_counts(sd: Any, tmp_path: Path) -> None:
    error = refused(sd, write(tmp_path / "a", sdxl_kohya()))
    assert isinstance(error, WrongBase) and error.field == "loras"
    assert "made for Stable Diffusion XL, the model is Stable Diffusion 1.5" in error.message
    assert "matched 0 of 12 modules" in error.message


def test_an_sd_file_on_an_sdxl_model_is_refused(sd: Any, xl: Any, tmp_path: Path) -> None:
    error = refused(xl, write(tmp_path / "a", weights_of(sd)), base="sdxl")
    assert isinstance(error, WrongBase) and "matched" in error.message


def test_under_nine_tenths_of_known_modules_are_refused(sd: Any, tmp_path: Path) -> None:
    tensors = weights_of(sd)
    names = list(targets(sd))
    few = dict(tensors)
    extra = {f"unet.strange.{n}.lora_{side}.weight": torch.zeros(4, 4) for n in range(2) for side in "AB"}
    adapter = read(sd, write(tmp_path / "few", few | extra))
    assert (adapter.matched, adapter.total) == (len(names), len(names) + 2)
    for name in names[: len(names) // 5]:
        few[f"{name}.lora_A.weight"] = torch.zeros(4, 1)
    error = refused(sd, write(tmp_path / "many", few))
    assert isinstance(error, WrongBase)
    assert f"matched {len(names) - len(names) // 5} of {len(names)} modules" in error.message


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.zeros(2)},
        {"unet.conv_in.lora_A.weight": torch.zeros(4, 4, 3, 3)},
        {"unet.conv_in.lora_A.weight": torch.tensor(1.0), "unet.conv_in.lora_B.weight": torch.tensor(1.0)},
        {"unet.conv_in.lora_A.weight": torch.ones(0, 4), "unet.conv_in.lora_B.weight": torch.ones(8, 0)},
        {"lora_unet_.lora_down.weight": torch.zeros(2, 2)},
        {"lora_unet_input_blocks_x.lora_down.weight": torch.zeros(2, 2)},
        {"lora_unet_mid_block.alpha": torch.zeros(2, 2)},
        {"x.alpha": torch.zeros(2)},
    ],
)
def test_files_that_match_nothing_are_refused(sd: Any, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    error = refused(sd, write(tmp_path / "a", tensors))
    assert isinstance(error, WrongBase) and "matched 0 of" in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(sd: Any, tmp_path: Path, value: float) -> None:
    tensors = weights_of(sd)
    next(iter(tensors.values())).view(-1)[3] = value
    error = refused(sd, write(tmp_path / "a", tensors))
    assert error.code == "non_finite" and f"1 of {len(tensors)} tensors" in error.message


@pytest.mark.parametrize("key", ["a.hada_w1_a", "a.lokr_w1", "a.dora_scale", "a.lora_magnitude_vector"])
def test_other_kinds_than_lora_are_named(sd: Any, tmp_path: Path, key: str) -> None:
    error = refused(sd, write(tmp_path / "a", weights_of(sd) | {key: torch.zeros(2)}))
    assert isinstance(error, BadRequest) and error.code == "unknown_lora_kind"


def test_damaged_files_are_refused_with_their_code(sd: Any, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", weights_of(sd)).read_bytes()
    cases = {
        "unsafe_format": [b"", bytes(8), pickle.dumps({"unet": 1})],
        "file_incomplete": [whole[:-4]],
        "bad_header": [whole + bytes(8)],
        "no_tensors": [(2).to_bytes(8, "little") + b"{}"],
    }
    for code, contents in cases.items():
        for content in contents:
            (tmp_path / "style.safetensors").write_bytes(content)
            assert refused(sd, tmp_path / "style.safetensors").code == code


def test_a_pickle_is_never_opened(sd: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return canary.touch, ()

    (tmp_path / "style.safetensors").write_bytes(pickle.dumps(Bomb()))
    assert isinstance(refused(sd, tmp_path / "style.safetensors"), UnsafeFormat)
    assert not canary.exists()


def test_a_file_that_is_gone_is_lora_missing(sd: Any, tmp_path: Path) -> None:
    error = refused(sd, tmp_path / "gone.safetensors")
    assert isinstance(error, NotFound) and error.code == "lora_missing"


def test_half_precision_and_eight_bit_files_are_read(sd: Any, tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn):
        tensors = {name: tensor.to(dtype) for name, tensor in weights_of(sd).items()}
        adapter = read(sd, write(tmp_path / "a", tensors))
        bank = Bank(sd.unet)
        bank.add("style", adapter)
        bank.remove("style")
        assert adapter.matched == adapter.total


def test_the_kohya_names_are_those_that_diffusers_writes(sd: Any) -> None:
    """Guards the converter above."""
    tensors = {name: tensor for name, tensor in weights_of(sd).items() if name.startswith("text_encoder.")}
    theirs = convert_state_dict_to_kohya(
        {f"text_model.{name.removeprefix('text_encoder.')}": tensor for name, tensor in tensors.items()}
    )
    assert {f"lora_te_{name}" for name in theirs} == set(as_kohya(tensors, 4.0))
