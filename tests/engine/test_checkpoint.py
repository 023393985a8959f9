"""One-file checkpoints: told from their header, loaded as the folder is, to the bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from drive import Row, ask, finish, photo, png
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import save_lora
from tiny import unet as tiny_unet
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from bench.one_file import write_one_file
from studio.engine import Engine, weights
from studio.engine.copying import Copier
from studio.errors import BadRequest, StudioError, UnsafeFormat
from studio.models import Models, checkpoint
from studio.models.checkpoint import read_checkpoint
from studio.models.copies import Copies
from studio.models.hashes import Hashes
from studio.models.vocabulary import write_tokenizer
from studio.safetensors_header import read_header
from studio.schema import Rendered
from studio.settings import Settings

CPU = torch.device("cpu")
WIDTH = 64  # of a text encoder: one head
WORDS = 49_408


def unet(channels: tuple[int, ...], heads: Any, context: int, **options: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    stages = len(channels)
    kinds = ["CrossAttnDownBlock2D"] * (stages - 1) + ["DownBlock2D"]
    return UNet2DConditionModel(
        **{
            "sample_size": 8,
            "block_out_channels": channels,
            "layers_per_block": 1,
            "attention_head_dim": heads,
            "cross_attention_dim": context,
            "down_block_types": kinds,
            "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
        }
        | options
    ).eval()


def vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        sample_size=16,
    ).eval()


def text(kind: Any, act: str, seed: int, width: int = WIDTH) -> Any:
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=WORDS, hidden_size=width, intermediate_size=128, num_hidden_layers=3,
        num_attention_heads=width // 64, projection_dim=width, hidden_act=act, bos_token_id=WORDS - 2,
        eos_token_id=WORDS - 1,
    )  # fmt: skip
    return kind(config).half().eval()


def save_sd1(folder: Path, **options: Any) -> type:
    network = unet((32, 64), 8, WIDTH, **options)
    network.half().save_pretrained(folder / "unet")
    vae().half().save_pretrained(folder / "vae")
    text(CLIPTextModel, "quick_gelu", 2).save_pretrained(folder / "text_encoder")
    return StableDiffusionInpaintPipeline if network.config.in_channels == 9 else StableDiffusionPipeline


def save_sd2(folder: Path) -> type:
    network = unet((64, 128), [1, 2], WIDTH, use_linear_projection=True)
    network.half().save_pretrained(folder / "unet")
    vae().half().save_pretrained(folder / "vae")
    text(CLIPTextModel, "gelu", 2).save_pretrained(folder / "text_encoder")
    return StableDiffusionPipeline


def save_xl(folder: Path) -> type:
    network = unet(
        (64, 64, 128), [1, 1, 2], 3 * WIDTH, use_linear_projection=True, addition_embed_type="text_time",
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=[1, 2, 3], addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=6 * 256 + 2 * WIDTH,
    )  # fmt: skip
    network.half().save_pretrained(folder / "unet")
    vae().half().save_pretrained(folder / "vae")
    text(CLIPTextModel, "quick_gelu", 2).save_pretrained(folder / "text_encoder")
    text(CLIPTextModelWithProjection, "gelu", 3, 2 * WIDTH).save_pretrained(folder / "text_encoder_2")
    return StableDiffusionXLPipeline


def save_refiner(folder: Path) -> type:
    network = unet(
        (64, 64, 128), [1, 1, 2], 2 * WIDTH, use_linear_projection=True, addition_embed_type="text_time",
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=2, addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=5 * 256 + 2 * WIDTH,
    )  # fmt: skip
    network.half().save_pretrained(folder / "unet")
    vae().half().save_pretrained(folder / "vae")
    text(CLIPTextModelWithProjection, "gelu", 3, 2 * WIDTH).save_pretrained(folder / "text_encoder_2")
    return StableDiffusionXLImg2ImgPipeline


def save_small(folder: Path) -> type:
    """As the distilled small UNets: no middle, attention in every stage; as LCM: told the guidance."""
    kinds = ["CrossAttnDownBlock2D"] * 2
    return save_sd1(
        folder, mid_block_type=None, down_block_types=kinds,
        up_block_types=["CrossAttnUpBlock2D"] * 2, time_cond_proj_dim=16,
    )  # fmt: skip


def save_paint(folder: Path) -> type:
    return save_sd1(folder, in_channels=9)


SAVES: dict[str, tuple[Callable[..., type], str]] = {
    "sd1": (save_sd1, "sd15"),
    "sd2": (save_sd2, "sd21"),
    "xl": (save_xl, "sdxl"),
    "refiner": (save_refiner, "sdxl"),
    "paint": (save_paint, "sd15"),
    "small": (save_small, "sd15"),
}


@dataclass
class Pair:
    """One model both ways. `folder`: as diffusers saved it, with the files a checkpoint leaves out put in."""

    folder: Path
    file: Path
    added: Path
    family: str
    pipeline: type


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module", params=SAVES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: Models) -> Pair:
    save, family = SAVES[request.param]
    place = tmp_path_factory.mktemp(request.param)
    pipeline = save(place / "folder")
    file = write_one_file(place / "folder", place / f"{request.param}.safetensors")
    row = models.add_model(file)
    return Pair(place / "folder", file, row.folder, family, pipeline)


def states(bundle: weights.ModelBundle) -> dict[str, torch.Tensor]:
    networks = {"unet": bundle.unet, "vae": bundle.vae} | {
        f"text_{place}": encoder for place, encoder in enumerate(bundle.text_encoders)
    }
    return {
        f"{part}.{name}": tensor
        for part, network in networks.items()
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]
    }


def fill(pair: Pair, folder: Path) -> Path:
    """The folder as a person has it: with tokenizers and scheduler beside the networks."""
    shutil.copytree(pair.folder, folder)
    for name in ("tokenizer", "tokenizer_2", "scheduler"):
        if (pair.added / name).is_dir():
            shutil.copytree(pair.added / name, folder / name)
    shutil.copy(pair.added / "model_index.json", folder)
    return folder


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_one_file_loads_as_the_folder_does_to_the_bit(pair: Pair, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = fill(pair, tmp_path / "folder")
    apart = weights.load(Row("apart", pair.family, folder, folder), CPU, dtype)
    whole = weights.load(Row("whole", pair.family, pair.added, pair.added), CPU, dtype)
    ours, theirs = states(whole), states(apart)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(ours[name].dtype == theirs[name].dtype for name in theirs)
    assert weights.bytes_needed(pair.added, dtype) == whole.weight_bytes == apart.weight_bytes


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
def test_its_copy_in_a_half_type_gives_the_same_bits(pair: Pair, tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "hashes.json")
    copies = Copies(tmp_path / "copies", hashes, 2**30, 0)
    row = Row("whole", pair.family, pair.added, pair.added)
    writer = Copier(copies, lambda: ())
    writer.start()
    cast = weights.load(row, CPU, torch.bfloat16, copier=writer)
    writer.finish()
    copied = weights.load(row, CPU, torch.bfloat16, copier=Copier(copies, lambda: ()))
    assert len(copied.mapped) == 2 and not cast.mapped  # UNet and VAE; text stays float32
    theirs = states(cast)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in states(copied).items())


def test_the_networks_answer_alike(pair: Pair, tmp_path: Path) -> None:
    """Heads, activations and norms are in no weight: a wrong guess shows here only."""
    folder = fill(pair, tmp_path / "folder")
    apart = weights.load(Row("apart", pair.family, folder, folder), CPU, torch.float32)
    whole = weights.load(Row("whole", pair.family, pair.added, pair.added), CPU, torch.float32)
    ids = torch.arange(77)[None]
    latents = torch.randn(1, apart.unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(1, 77, apart.unet.config.cross_attention_dim)
    added = {"text_embeds": torch.ones(1, 2 * WIDTH), "time_ids": torch.ones(1, 5 if apart.scored else 6)}
    told = None if apart.distilled is None else torch.ones(1, apart.distilled)
    with torch.inference_mode():
        for ours, theirs in zip(whole.text_encoders, apart.text_encoders, strict=True):
            assert torch.equal(ours(ids)[0], theirs(ids)[0])
        ours, theirs = (
            bundle.unet(
                latents,
                torch.tensor([300]),
                encoder_hidden_states=rows,
                timestep_cond=told,
                added_cond_kwargs=added if pair.family == "sdxl" else None,
            )[0]
            for bundle in (whole, apart)
        )
        assert torch.equal(ours, theirs)
        assert torch.equal(whole.vae.decode(latents[:, :4])[0], apart.vae.decode(latents[:, :4])[0])


def test_diffusers_own_reader_finds_the_same_weights_in_the_file(pair: Pair) -> None:
    """Ties the names to the outside: were writer and reader wrong alike, this would differ."""
    if pair.file.stem == "small":
        pytest.skip("diffusers' reader does not know a UNet without a middle")
    extra = {"safety_checker": None} if pair.family != "sdxl" else {}
    theirs = pair.pipeline.from_single_file(
        str(pair.file), config=str(pair.added), local_files_only=True, **extra
    )
    bundle = weights.load(Row("whole", pair.family, pair.added, pair.added), CPU, torch.float32)
    found = [theirs.unet, theirs.vae, theirs.text_encoder, getattr(theirs, "text_encoder_2", None)]
    found = [network for network in found if network is not None]
    for ours, other in zip([bundle.unet, bundle.vae, *bundle.text_encoders], found, strict=False):
        same = {name.replace("base.", ""): tensor for name, tensor in ours.named_parameters()}
        wanted = other.float().state_dict()
        assert len(same) == len(wanted)
        assert [name for name, tensor in wanted.items() if not torch.equal(same[name], tensor)] == []


def test_a_picture_comes_out_of_a_checkpoint_that_was_added(models: Models, pair: Pair) -> None:
    row = models.get(pair.file.stem)
    assert (row.family, row.size) == (pair.family, {"sd15": 512, "sd21": 512, "sdxl": 1024}[pair.family])
    engine = Engine(Settings(device="cpu", home=pair.file.parent), models)
    picture = {"init_image": "photo", "mask": "mask", "strength": 1.0} if row.name == "paint" else {}
    request = ask(model=row.name, steps=1, width=64, height=64, scheduler=row.scheduler, **picture)
    white = png(Image.new("L", (64, 64), 255))
    engine.submit("a", request, {"photo": png(photo(side=64)), "mask": white})
    events = [event for _, event in finish(engine)]
    engine.close()
    assert any(isinstance(event, Rendered) and event.width == 64 for event in events), events


def test_the_vocabulary_gives_clips_numbers(tmp_path: Path) -> None:
    """Known from CLIP's own examples; 49406 and 49407 are start and end."""
    write_tokenizer(tmp_path / "words", padding="!")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "words")
    assert len(tokenizer) == WORDS
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = tokenizer("a", padding="max_length", max_length=5).input_ids
    assert padded == [49406, 320, 49407, 0, 0]


def rewrite(pair: Pair, file: Path, change: Callable[[dict[str, torch.Tensor]], None], **notes: str) -> Path:
    tensors = load_file(pair.file)
    change(tensors)
    save_file(tensors, file, {name.replace("_", ".", 1): value for name, value in notes.items()} or None)
    return file


@pytest.mark.parametrize("pair", ["sd2"], indirect=True)
def test_v_prediction_is_told_by_the_notes_or_by_the_weights(pair: Pair, tmp_path: Path) -> None:
    def kind(file: Path) -> tuple[str, int]:
        found = read_checkpoint(file)
        return found.scheduler["prediction_type"], found.side

    assert kind(pair.file) == ("epsilon", 512)
    noted = rewrite(pair, tmp_path / "noted.safetensors", lambda _: None, modelspec_prediction_type="v")
    assert kind(noted) == ("v_prediction", 768)

    def zero_snr(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}

    marked = read_checkpoint(rewrite(pair, tmp_path / "marked.safetensors", zero_snr))
    assert marked.scheduler["prediction_type"] == "v_prediction"
    assert marked.scheduler["rescale_betas_zero_snr"] and marked.scheduler["timestep_spacing"] == "trailing"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sd2_is_told_from_its_base_by_a_bias_as_wide_as_v_prediction_makes_it(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    key = checkpoint.BIAS
    for spread, wanted in ((0.2, True), (0.03, False)):
        values = torch.randn(320, generator=torch.Generator().manual_seed(0)) * spread
        save_file({key: values.to(dtype)}, tmp_path / "bias.safetensors")
        header = read_header(tmp_path / "bias.safetensors")
        assert checkpoint.is_velocity(tmp_path / "bias.safetensors", header, "sd21") is wanted


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
@pytest.mark.parametrize(
    ("name", "kind", "steps", "guidance", "scheduler"),
    [
        ("sd_xl_turbo_1.0_fp16", "sd-turbo", 4, 1.0, "euler-ancestral"),
        ("dreamshaper-lightning", "lightning", 4, 1.0, "euler"),
        ("photo_LCM.v2", "lcm-lora", 6, 1.5, "lcm"),
        ("hyperrealism", "", 30, 7.5, "pndm"),
    ],
)
def test_distilled_models_get_their_few_steps(
    pair: Pair, tmp_path: Path, name: str, kind: str, steps: int, guidance: float, scheduler: str
) -> None:
    row = Models(Settings(home=tmp_path)).add_model(pair.file, name)
    assert (row.distilled, row.steps, row.guidance, row.scheduler) == (kind, steps, guidance, scheduler)


@pytest.mark.parametrize("pair", ["small"], indirect=True)
def test_an_lcm_is_told_by_its_unet_whatever_its_name(pair: Pair, models: Models) -> None:
    row = models.get("small")
    assert (row.distilled, row.steps, row.scheduler) == ("lcm", 4, "lcm")


def drop(prefix: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    return change


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
@pytest.mark.parametrize(
    ("prefix", "code", "words"),
    [
        ("model.diffusion_model.out.2.bias", "model_incomplete", "UNet lacks 1 of"),
        ("first_stage_model.decoder.mid", "model_incomplete", "VAE lacks"),
        ("first_stage_model.", "model_unknown", "holds no VAE"),
        ("cond_stage_model.", "model_unknown", "no text encoder"),
        ("model.diffusion_model.", "model_unknown", "belongs to a UNet"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_with_figures(
    pair: Pair, models: Models, tmp_path: Path, prefix: str, code: str, words: str
) -> None:
    broken = rewrite(pair, tmp_path / "broken.safetensors", drop(prefix))
    with pytest.raises(BadRequest, match=words) as caught:
        models.add_model(broken)
    assert caught.value.code == code and str(tmp_path) not in caught.value.message
    assert not list((models.settings.home / "models").glob("*broken*"))


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"model.diffusion_model.input_blocks.1.2.fuser.weight": (4,)}, "1 tensors of its UNet belong to no"),
        ({"model.diffusion_model.joint_blocks.0.weight": (4,)}, "Stable Diffusion 3"),
        ({"control_model.out.weight": (4,)}, "ControlNet in one file"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (32, 8, 3, 3)}, "reads 8 channels"),
        ({"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (9, 64)}, "9 words"),
    ],
)
def test_a_checkpoint_of_another_kind_is_named_and_refused(
    pair: Pair, models: Models, tmp_path: Path, extra: dict[str, tuple[int, ...]], words: str
) -> None:
    added = {name: torch.zeros(shape) for name, shape in extra.items()}
    other = rewrite(pair, tmp_path / "other.safetensors", lambda tensors: tensors.update(added))
    with pytest.raises(BadRequest, match=words) as caught:
        models.add_model(other)
    assert caught.value.code == "model_unknown"


def test_pickles_cut_files_and_loras_are_never_taken_for_checkpoints(models: Models, tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "model.safetensors")
    with pytest.raises(UnsafeFormat):
        models.add_model(tmp_path / "model.safetensors")
    lora = save_lora(tmp_path / "lora.safetensors", tiny_unet(), seed=0, rank=2)
    with pytest.raises(BadRequest, match="UNet"):
        models.add_model(lora)
    lora.write_bytes(lora.read_bytes()[:-5])
    with pytest.raises(BadRequest, match="bytes missing"):
        models.add_model(lora)


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
def test_a_vae_put_into_the_models_folder_goes_before_the_checkpoints(pair: Pair, tmp_path: Path) -> None:
    row = Models(Settings(home=tmp_path)).add_model(pair.file)
    other = vae()
    with torch.no_grad():
        other.decoder.conv_out.bias.fill_(3.0)
    other.save_pretrained(row.folder / "vae")
    bundle = weights.load(Row("new", "sd15", row.folder, row.folder), CPU, torch.float32)
    assert torch.equal(bundle.vae.decoder.conv_out.bias, torch.full((3,), 3.0))
    assert Models(Settings(home=tmp_path)).get("sd1").bytes > row.bytes


@pytest.mark.parametrize("pair", ["sd1"], indirect=True)
def test_a_checkpoint_changed_after_it_was_added_fails_by_name_not_by_traceback(
    pair: Pair, tmp_path: Path
) -> None:
    row = Models(Settings(home=tmp_path)).add_model(pair.file)
    (row.folder / "unet" / "config.json").write_text(
        json.dumps(
            json.loads((row.folder / "unet" / "config.json").read_text()) | {"cross_attention_dim": 32}
        )
    )
    with pytest.raises(StudioError, match="unet could not be read") as caught:
        weights.load(Row("x", "sd15", row.folder, row.folder), CPU, torch.float32)
    assert str(tmp_path) not in caught.value.message + caught.value.hint
