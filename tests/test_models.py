"""Models and LoRAs are judged by their headers: what they are, whether they are whole, whether they fit."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from folders import make_lora, make_model, write_json, write_safetensors

from studio.errors import BadRequest, Conflict, NotFound, StudioError, UnsafeFormat, WrongBase
from studio.models import Models
from studio.models.folders import scheduler_key
from studio.settings import ROOT, Settings

XL = {"context": 2048, "sample_size": 128, "blocks": 4, "addition_embed_type": "text_time"}
WEIGHTS = "diffusion_pytorch_model.safetensors"
POCKET = ROOT / "assets" / "models" / "pocket"


@pytest.fixture
def models(home: Path) -> Models:
    return Models(Settings(home=home))


class Canary:
    """A pickle that leaves a file where it is opened."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize(
    ("shape", "family", "size"),
    [
        (XL, "sdxl", 1024),
        ({}, "pocket", 128),
        ({"context": 768, "sample_size": 64, "blocks": 4}, "sd15", 512),
        ({"context": 1024, "sample_size": 96, "blocks": 4}, "sd21", 768),
        (
            {"context": 2048, "sample_size": 128, "blocks": 4, "addition_embed_type": "text_time"},
            "sdxl",
            1024,
        ),
        ({"context": 96, "sample_size": 16, "blocks": 2}, "pocket", 32),
        ({"context": 999, "sample_size": 64, "blocks": 4}, "sd15", 512),
    ],
)
def test_a_folders_shapes_say_what_it_is(home: Path, shape: dict[str, Any], family: str, size: int) -> None:
    make_model(home / "models" / "other", **shape)
    row = Models(Settings(home=home)).get("other")
    assert (row.family, row.size, row.context) == (family, size, shape.get("context", 160))
    assert (row.controls, row.prediction, row.builtin, row.label) == (("canny",), "epsilon", False, "other")
    assert row.bytes == sum(file.stat().st_size for file in row.folder.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"_class_name": "PNDMScheduler"}, "pndm"),
        ({"_class_name": "EulerDiscreteScheduler"}, "euler"),
        ({"_class_name": "DPMSolverMultistepScheduler"}, "dpmpp-2m"),
        ({"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True}, "dpmpp-2m-karras"),
        ({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}, "dpmpp-2m-sde"),
        ({"_class_name": "NobodysScheduler"}, ""),
        ({}, ""),
    ],
)
def test_a_checkpoints_own_scheduler_becomes_its_default(config: dict[str, Any], key: str) -> None:
    assert scheduler_key(config) == key


def test_an_unknown_model_gets_the_nearest_names(models: Models) -> None:
    with pytest.raises(NotFound) as caught:
        models.get("../../poket")
    assert (caught.value.code, caught.value.field) == ("model_not_found", "model")
    with pytest.raises(NotFound, match="No model 'poket'") as caught:
        models.get("poket")
    assert "pocket" in caught.value.hint


def breakages() -> dict[str, Any]:
    def code(folder: Path) -> None:
        (folder / "pipeline.py").write_text("raise SystemExit")

    def own_class(folder: Path) -> None:
        write_json(folder / "model_index.json", {"_class_name": ["pipeline", "Mine"]})

    def pickled(folder: Path) -> None:
        weights = folder / "unet" / WEIGHTS
        weights.rename(weights.with_suffix(".bin"))

    def in_disguise(folder: Path) -> None:
        (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(
            pickle.dumps(Canary(folder / "x"))
        )

    def short(folder: Path) -> None:
        weights = folder / "unet" / WEIGHTS
        weights.write_bytes(weights.read_bytes()[:-1])

    def shard_lost(folder: Path) -> None:
        index = {"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "two.safetensors"}}
        write_json(folder / "unet" / "diffusion_pytorch_model.safetensors.index.json", index)

    def part_lost(folder: Path) -> None:
        shutil.rmtree(folder / "vae")

    def no_json(folder: Path) -> None:
        (folder / "unet" / "config.json").write_text("{")

    return {
        "custom_code_refused pipeline.py": code,
        "custom_code_refused index": own_class,
        "unsafe_format unet": pickled,
        "unsafe_format vae": in_disguise,
        "file_incomplete 1 bytes missing": short,
        "model_incomplete two.safetensors": shard_lost,
        "model_incomplete vae": part_lost,
        "model_incomplete unet/config.json": no_json,
    }


@pytest.mark.parametrize("broken", breakages())
def test_a_broken_model_says_what_and_hides_no_other(home: Path, broken: str) -> None:
    breakages()[broken](make_model(home / "models" / "broken"))
    code, words = broken.split(" ", 1)
    models = Models(Settings(home=home))
    with pytest.raises(StudioError, match=words) as caught:
        models.get("broken")
    assert caught.value.code == code and str(home) not in caught.value.message
    assert [row.name for row in models.list()] == ["pocket"] and list(models.problems()) == ["broken"]
    assert not (home / "models" / "broken" / "x").exists()


def test_a_link_out_of_the_folder_is_not_followed(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = make_model(tmp_path_factory.mktemp("elsewhere") / "linked")
    (home / "models" / "linked").symlink_to(elsewhere)
    assert "linked" not in [row.name for row in Models(Settings(home=home)).list()]


@pytest.mark.parametrize(
    ("key", "width"),
    [
        ("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", 768),
        ("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.down.weight", 2048),
        ("lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", 1024),
        ("base_model.model.up.attn2.to_k.lora_A.default.weight", 160),
    ],
)
def test_every_spelling_of_lora_tells_its_base(home: Path, key: str, width: int) -> None:
    file = write_safetensors(home / "loras" / "other.safetensors", {key: (4, width), key + "2": (8, 4)})
    row = Models(Settings(home=home)).lora("other")
    base = {768: "sd15", 2048: "sdxl", 1024: "sd21", 160: "pocket"}[width]
    assert (row.base, row.context, row.rank, row.problem) == (base, width, 4, "")
    assert row.bytes == file.stat().st_size


def test_a_loras_notes_are_read_as_text(home: Path) -> None:
    notes = {
        "ss_output_name": "<img src=x onerror=alert(1)>",
        "ss_network_alpha": "2.0",
        "modelspec.trigger_phrase": "in  the\nstyle" + "!" * 500,
    }
    make_lora(home / "loras" / "noted.safetensors", notes=notes)
    row = Models(Settings(home=home)).lora("noted")
    assert (row.title, row.alpha) == ("<img src=x onerror=alert(1)>", 2.0)
    assert row.trigger.startswith("in the style!") and len(row.trigger) == 200


@pytest.mark.parametrize(
    ("notes", "trigger"),
    [
        ({"ss_tag_frequency": '{"10_x": {"cat": 3, "zkz style": 9}}'}, "zkz style"),
        ({"ss_tag_frequency": "[" * 5000}, ""),
        ({"ss_tag_frequency": '{"a": {"b": "many"}}'}, ""),
        ({"ss_network_alpha": "much"}, ""),
    ],
)
def test_notes_that_make_no_sense_do_no_harm(home: Path, notes: dict[str, str], trigger: str) -> None:
    make_lora(home / "loras" / "noted.safetensors", notes=notes)
    assert Models(Settings(home=home)).lora("noted").trigger == trigger


def test_notes_tell_the_base_where_shapes_do_not(home: Path) -> None:
    shapes = {"lora_unet_down_attn1_to_q.lora_down.weight": (4, 320)}
    write_safetensors(
        home / "loras" / "quiet.safetensors", shapes, {"ss_base_model_version": "sdxl_base_v1-0"}
    )
    assert Models(Settings(home=home)).lora("quiet").base == "sdxl"


def test_a_lora_is_found_by_its_makers_title(home: Path) -> None:
    make_lora(home / "loras" / "v3-final.safetensors", notes={"ss_output_name": "Zine"})
    assert Models(Settings(home=home)).lora("zine").name == "v3-final"


def test_a_lora_of_another_family_is_refused_with_the_reason(home: Path) -> None:
    make_lora(home / "loras" / "big.safetensors", context=2048)
    make_model(home / "models" / "sd", context=768, sample_size=64, blocks=4)
    models = Models(Settings(home=home))
    with pytest.raises(WrongBase) as caught:
        models.check_lora("big", "sd")
    said = caught.value.message
    assert "made for Stable Diffusion XL, model sd is Stable Diffusion 1.5" in said
    assert "2048 wide, the model's 768: 0 of its 2 tensors" in said
    models.check_lora("neon", "pocket")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty", b""),
        ("zeros", bytes(8)),
        ("zip", b"PK\3\4" + bytes(100)),
        ("pickle", pickle.dumps(Canary(Path("nowhere")))),
        ("none", b"\2\0\0\0\0\0\0\0{}"),
    ],
)
def test_a_lora_that_is_none_is_listed_with_its_problem(home: Path, name: str, data: bytes) -> None:
    file = home / "loras" / f"{name}.safetensors"
    file.write_bytes(data)
    models = Models(Settings(home=home))
    assert models.lora(name).problem
    assert len(models.loras()) == 4
    with pytest.raises(BadRequest) as caught:
        models.check_lora(name, "pocket")
    assert caught.value.code == "lora_unusable"


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import studio.models.models as module

    models, reads = Models(Settings(home=home)), []
    real = module.read_lora
    monkeypatch.setattr(module, "read_lora", lambda file, name: reads.append(name) or real(file, name))
    for _ in range(3):
        models.loras()
    assert sorted(reads) == ["guochao", "neon", "nordic"]
    make_lora(home / "loras" / "neon.safetensors", rank=16)
    assert models.lora("neon").rank == 16 and len(reads) == 4


def test_a_lora_is_copied_in_under_its_name(models: Models, tmp_path: Path) -> None:
    file = make_lora(tmp_path / "given" / "My Style.safetensors")
    assert models.add_lora(file).name == "My Style"
    file.unlink()
    assert models.lora("My Style").problem == ""
    assert not list((tmp_path / "loras").glob("*.tmp"))


def test_a_name_taken_by_other_content_is_a_conflict(models: Models, tmp_path: Path) -> None:
    same = shutil.copy(tmp_path / "loras" / "neon.safetensors", tmp_path / "copy.safetensors")
    assert models.add_lora(Path(same), "neon").name == "neon"
    other = make_lora(tmp_path / "given" / "other.safetensors", rank=16)
    with pytest.raises(Conflict, match=r"hash [0-9a-f]{12}, the new one's [0-9a-f]{12}"):
        models.add_lora(other, "NEON")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".bashrc", "x" * 101, "a\r\nb", "CON:", "x ", "\0"])
def test_names_that_would_leave_the_folder_are_refused(models: Models, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    file = tmp_path / "loras" / "neon.safetensors"
    for add in (
        lambda: models.add_lora(file, name),
        lambda: models.add_model(tmp_path / "models" / "pocket", name),
    ):
        with pytest.raises(BadRequest) as caught:
            add()
        assert caught.value.code == "bad_name"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors", ".ckpt", ".pt"])
def test_a_pickle_is_refused_whatever_it_is_called(models: Models, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    for add in (models.add_lora, models.add_model):
        with pytest.raises(UnsafeFormat):
            add(file)
    assert not (tmp_path / "canary").exists() and len(models.loras()) == 3


def test_a_model_folder_is_taken_in_without_what_is_not_a_model(models: Models, tmp_path: Path) -> None:
    given = make_model(tmp_path / "given" / "brand model")
    (given / "unet" / "notes.exe").write_bytes(b"x")
    (given / "README.md").write_text("x")
    row = models.add_model(given)
    assert (row.name, row.family) == ("brand model", "pocket")
    kept = {file.name for file in row.folder.rglob("*") if file.is_file()}
    assert "config.json" in kept and not kept & {"notes.exe", "README.md"}
    with pytest.raises(Conflict):
        models.add_model(given)


@pytest.mark.parametrize("path", ["../../x", "a/b/c", "https://evil/x", "x" * 200, ""])
def test_what_is_no_model_folder_is_refused(models: Models, path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        models.add_model(Path(path))
    assert caught.value.code == "bad_model_id"


TEXTS = [
    "", "a red mug on a blue background, glossy", "It's 2024: don't   stop!",
    "红色运动鞋，蓝色背景", "ＦＵＬＬ ｗｉｄｔｈ",
    "naïve café e\u0301", "👩‍🎨 emoji", "x" * 300, "#C8102E 50% <b>", "tabs\tand\nlines",
    "mooncake月饼mooncake",
    "<|endoftext|> in the middle",
]  # fmt: skip


@pytest.mark.skipif(
    not (POCKET / "tokenizer" / "vocab.json").is_file(), reason="the pocket model is not there"
)
def test_tokens_are_counted_as_the_engine_cuts_them() -> None:
    from transformers import CLIPTokenizer

    from studio.models.tokens import count, load_tokenizer

    theirs, ours = CLIPTokenizer.from_pretrained(POCKET / "tokenizer"), load_tokenizer(POCKET / "tokenizer")
    for text in TEXTS:
        assert count(ours, text) == len(theirs(text, add_special_tokens=False).input_ids), text


def test_a_tokenizer_of_one_file_counts_the_same(tmp_path: Path) -> None:
    from studio.models.tokens import count, load_tokenizer

    folder = make_model(tmp_path / "model") / "tokenizer"
    two_files = load_tokenizer(folder)
    two_files.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").unlink()
    one_file = load_tokenizer(folder)
    assert [count(one_file, text) for text in TEXTS] == [count(two_files, text) for text in TEXTS]


def test_tags_and_comments_are_no_tokens(models: Models) -> None:
    plain = models.count_tokens("pocket", "a mug")
    assert plain == 4
    assert models.count_tokens("pocket", "(a:1.2) mug <lora:neon:0.5> # comment") == plain
    assert models.count_tokens("pocket", "") == 0


def test_a_model_without_a_tokenizer_says_so(models: Models, tmp_path: Path) -> None:
    (tmp_path / "models" / "pocket" / "tokenizer" / "vocab.json").write_text("[]")
    with pytest.raises(BadRequest, match="tokenizer cannot be read"):
        models.count_tokens("pocket", "x")


@pytest.mark.skipif(not POCKET.is_dir(), reason="the pocket model is not there")
def test_the_shipped_model_and_styles_are_recognised(tmp_path: Path) -> None:
    models = Models(Settings(home=tmp_path))
    row = models.get("pocket")
    assert (row.family, row.size, row.scheduler, row.builtin) == ("pocket", 128, "ddim", True)
    for lora in models.loras():
        models.check_lora(lora.name, "pocket")
        assert lora.trigger


def test_within_one_look_a_folder_is_read_once_and_after_it_anew(home: Path) -> None:
    models = Models(Settings(home=home))
    make_model(home / "models" / "other")
    with models.one_look(), models.one_look():
        row = models.get("other")
        shutil.rmtree(home / "models" / "other")
        assert models.get("other") == row
    with pytest.raises(NotFound):
        models.get("other")
