"""Pictures of other tools fill the form: what each writes, and what a hostile file cannot do."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from studio import infotext
from studio.errors import BadRequest, UnsupportedImage
from studio.infotext import Found
from studio.studio import Studio

A1111 = (
    "a castle <lora:neon:0.8> <lora:lost:1>\nNegative prompt: blurry\n"
    "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 12, Size: 512x768, "
    "Model hash: abc, Model: pocket, Clip skip: 2, Hires upscale: 2, Lora hashes: \"neon: 1\", Version: v1.10"
)  # fmt: skip
FOOOCUS = {
    "prompt": "an astronaut", "negative_prompt": "blurry", "prompt_expansion": "an astronaut, sharp",
    "styles": "['Fooocus V2']", "performance": "Speed", "steps": 30, "resolution": "(1152, 896)",
    "guidance_scale": 4.0, "sharpness": 2.0, "base_model": "juggernautXL", "refiner_model": "None",
    "sampler": "dpmpp_2m_sde_gpu", "scheduler": "normal", "seed": "77", "vae": "Default (model)",
    "loras": [["neon", 0.5, "e1"], ["sd_xl_offset", 0.1, "e2"]], "metadata_scheme": "fooocus",
}  # fmt: skip
INVOKE = {
    "positive_prompt": "a red fox", "negative_prompt": "dull", "seed": 9, "steps": 25, "cfg_scale": 7.5,
    "width": 512, "height": 640, "scheduler": "euler_a", "rand_device": "cuda",
    "model": {"key": "k", "hash": "h", "name": "pocket", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "neon"}, "weight": 0.7}],
    "controlnets": [{"control_model": {"name": "canny-fp16"}}], "clip_skip": 0,
}  # fmt: skip
COMFY: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": ["20", 0], "steps": 18, "cfg": 5.5, "sampler_name": "dpmpp_2m", "scheduler": "karras",
        "denoise": 1, "model": ["11", 0], "positive": ["14", 0], "negative": ["7", 0],
        "latent_image": ["5", 0],
    }},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "SD1.5\\pocket.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 704, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["21", 0], "clip": ["11", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "watermark", "clip": ["11", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "neon.safetensors", "strength_model": 0.6, "strength_clip": 1, "model": ["4", 0],
    }},
    "11": {"class_type": "LoraLoader", "inputs": {
        "lora_name": "gone.safetensors", "strength_model": 1, "model": ["10", 0],
    }},
    "14": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0], "strength": 1}},
    "20": {"class_type": "PrimitiveInt", "inputs": {"value": 555}},
    "21": {"class_type": "PrimitiveString", "inputs": {"value": "a glass bottle"}},
}  # fmt: skip
SWARM = {
    "sui_image_params": {
        "prompt": "a cat <lora:neon:0.4:0.9>", "negativeprompt": "dog", "model": "Official/pocket",
        "seed": 4, "steps": 20, "cfgscale": 7.0, "width": 768, "height": 512, "comfyuisampler": "euler",
        "loras": ["neon"], "loraweights": ["0.3"], "refinerupscale": 1.5, "swarm_version": "0.9",
    },
    "sui_models": [],
}  # fmt: skip


def png(**texts: str) -> bytes:
    notes = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        notes.add_text(name, text)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def with_exif(kind: str, inner: dict[int, Any], first: dict[int, Any] | None = None) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(inner)
    exif.update(first or {})
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind, exif=exif)
    return out.getvalue()


def asked(found: Found) -> dict[str, Any]:
    request = found.settled()
    return request.model_dump(include=request.model_fields_set)


def test_a1111s_picture_fills_the_form_and_tells_what_it_cannot(studio: Studio) -> None:
    found = studio.recover(png(parameters=A1111))
    assert asked(found) == {
        "prompt": "a castle <lora:neon:0.8>", "negative_prompt": "blurry", "steps": 28, "guidance": 6.5,
        "seed": 12, "width": 512, "height": 768, "scheduler": "dpmpp-2m-karras", "model": "pocket",
    }  # fmt: skip
    assert found.unmatched == ["Clip skip: 2", "Hires upscale: 2", "LoRA: lost"] and found.tool == "A1111"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("letters", ["utf-16-be", "utf-16-le", "ascii"])
def test_its_text_is_found_in_exif_however_it_was_encoded(studio: Studio, kind: str, letters: str) -> None:
    head = b"ASCII\0\0\0" if letters == "ascii" else b"UNICODE\0"
    found = studio.recover(with_exif(kind, {0x9286: head + A1111.encode(letters)}))
    assert found.fields["prompt"] == "a castle <lora:neon:0.8>" and found.fields["seed"] == 12


def test_fooocus_pictures_fill_the_form(studio: Studio) -> None:
    text = json.dumps(FOOOCUS)
    first = {0x9286: text, 0x0131: "Fooocus v2.5", 0x927C: "fooocus"}
    for data in (png(parameters=text, fooocus_scheme="fooocus"), with_exif("JPEG", {}, first)):
        found = studio.recover(data)
        assert asked(found) | {"loras": None} == {
            "prompt": "an astronaut", "negative_prompt": "blurry", "steps": 30, "guidance": 4.0, "seed": 77,
            "width": 1152, "height": 896, "scheduler": "dpmpp-2m-sde", "loras": None,
        }  # fmt: skip
        assert found.fields["loras"] == [{"name": "neon", "weight": 0.5}] and found.tool == "Fooocus"
        assert "Model: juggernautXL" in found.unmatched and "LoRA: sd_xl_offset" in found.unmatched
        assert "styles: ['Fooocus V2']" in found.unmatched


def test_fooocus_may_write_a1111s_text_too(studio: Studio) -> None:
    found = studio.recover(png(parameters=A1111, fooocus_scheme="a1111"))
    assert found.tool == "Fooocus" and found.fields["seed"] == 12


def test_invokeais_pictures_fill_the_form(studio: Studio) -> None:
    found = studio.recover(png(invokeai_metadata=json.dumps(INVOKE)))
    assert asked(found) | {"loras": None} == {
        "prompt": "a red fox", "negative_prompt": "dull", "steps": 25, "guidance": 7.5, "seed": 9,
        "width": 512, "height": 640, "scheduler": "euler-ancestral", "model": "pocket", "loras": None,
    }  # fmt: skip
    assert found.fields["loras"] == [{"name": "neon", "weight": 0.7}]
    assert found.unmatched == ["rand_device: cuda", "controlnets: canny-fp16"]


def test_comfyuis_graph_is_followed_from_its_sampler(studio: Studio) -> None:
    text = json.dumps(COMFY)
    webp = with_exif("WEBP", {}, {0x0110: f"prompt:{text}", 0x010F: "workflow:{}"})
    for data in (png(prompt=text, workflow="{}"), webp):
        found = studio.recover(data)
        assert asked(found) | {"loras": None} == {
            "prompt": "a glass bottle", "negative_prompt": "watermark", "steps": 18, "guidance": 5.5,
            "seed": 555, "width": 512, "height": 704, "scheduler": "dpmpp-2m-karras", "model": "pocket",
            "loras": None,
        }  # fmt: skip
        assert found.fields["loras"] == [{"name": "neon", "weight": 0.6}]
        assert found.unmatched == ["Node: ControlNetApply", "LoRA: gone"]


def test_swarmuis_pictures_fill_the_form(studio: Studio) -> None:
    text = json.dumps(SWARM)
    jpeg = with_exif("JPEG", {0x9286: b"UNICODE\0" + text.encode("utf-16-be")})
    for data in (png(parameters=text), jpeg, with_exif("JPEG", {}, {0x0110: text})):
        found = studio.recover(data)
        assert found.fields["prompt"] == "a cat <lora:neon:0.9:0.4>"  # text encoder first, here
        assert found.fields["loras"] == [{"name": "neon", "weight": 0.3}]
        assert (found.fields["model"], found.fields["scheduler"]) == ("pocket", "euler")
        assert (found.fields["width"], found.fields["height"], found.fields["seed"]) == (768, 512, 4)
        assert found.unmatched == ["refinerupscale: 1.5"] and found.tool == "SwarmUI"


def test_pasted_text_of_any_tool_is_read(studio: Studio) -> None:
    for data, tool in ((FOOOCUS, "Fooocus"), (INVOKE, "InvokeAI"), (COMFY, "ComfyUI"), (SWARM, "SwarmUI")):
        assert studio.recover_text(json.dumps(data)).tool == tool
    assert studio.recover_text(A1111).tool == "A1111"
    assert studio.recover_text("just words").fields["prompt"] == "just words"


def test_our_own_picture_comes_back_without_what_left_the_library(studio: Studio) -> None:
    from studio.schema import GenerationRequest

    id = studio.upload(png())
    job = studio.submit(GenerationRequest(prompt="a mug", init_image=id, seed=3, steps=2))
    image = studio.wait(job.id, 20).images[0]
    found = studio.recover(studio.picture_bytes(image.id)[0])
    assert found.tool == "Brand Studio" and found.fields["init_image"] == id and found.unmatched == []
    stranger = json.loads(infotext.texts_of(studio.picture_bytes(image.id)[0])["brand_studio"])
    found = studio.recover(png(brand_studio=json.dumps(stranger | {"init_image": "f" * 32})))
    assert "init_image" not in found.fields and found.unmatched == [
        "init_image: its picture is not in this library"
    ]


def test_values_out_of_range_are_told_and_left_out(studio: Studio) -> None:
    found = studio.recover_text(json.dumps(INVOKE | {"steps": 900, "width": 513, "cfg_scale": "many"}))
    request = found.settled()
    assert request.steps is None and request.width is None and request.guidance is None
    assert any(line.startswith("steps: 900 (") for line in found.unmatched)


HUGE = "9" * 5000
HOSTILE = [
    "{", "[]", "null", "[" * 100_000, '{"a":' * 50_000, "{}", '{"sui_image_params": 5}',
    '{"sui_image_params": {"prompt": ["x"], "loras": {"a": 1}}}',
    f'{{"positive_prompt": "x", "seed": {HUGE}}}',
    '{"positive_prompt": "x", "seed": 1e999, "steps": NaN, "cfg_scale": Infinity, "loras": [[[]]]}',
    '{"positive_prompt": "x", "model": {"name": {"name": 1}}, "loras": [{"model": 3, "weight": "1e400"}]}',
    '{"image": {"prompt": [{"prompt": 5}], "seed": true}}',
    '{"prompt": "x", "base_model": ["y"], "resolution": {"a": 1}, "loras": [["a"], [1, 2], "b"]}',
    '{"prompt": "x", "base_model": "y", "resolution": "__import__(\'os\').abort()", "styles": "[open()]"}',
    json.dumps({"3": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "model": ["3", 0]}}}),
    json.dumps({"3": {"class_type": ["KSampler"], "inputs": []}, "4": 5, "5": {"inputs": {"model": ["4"]}}}),
    json.dumps({str(n): {"class_type": "KSampler", "inputs": {"model": [str(n + 1), 0], "a": [str(n), 0]}}
                for n in range(20_000)}),
    "<img src=x onerror=fetch('/canary')>\nSteps: <b>, Sampler: </script>, Seed: \u202e1, X: \0",
    "a\nSteps: 1, Sampler: Euler, Seed: 3, " + ", ".join(f"K{n}: v" for n in range(20_000)),
    "(" * 5000 + "\nSteps: 1, Sampler: Euler, Seed: 3", "<lora:" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_notes_are_read_or_refused_and_never_fail(studio: Studio, text: str) -> None:
    for name in ("parameters", "prompt", "invokeai_metadata", "sd-metadata", "brand_studio"):
        begun = time.process_time()
        try:
            found = studio.recovery.match(infotext.find({name: text}))
            found.settled()
        except BadRequest:
            continue
        finally:
            assert time.process_time() - begun < 5
        assert len(found.unmatched) <= 60 and all(len(line) <= 220 for line in found.unmatched)


def test_a_file_whose_notes_are_a_bomb_is_refused_before_they_are_read(studio: Studio) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("parameters", "a" * 30_000_000, zip=True)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=notes)
    with pytest.raises(UnsupportedImage) as caught:
        studio.recover(out.getvalue())
    assert caught.value.code == "metadata_too_large"


def test_a_picture_without_settings_and_a_file_without_a_picture_say_so(studio: Studio) -> None:
    with pytest.raises(BadRequest) as caught:
        studio.recover(png())
    assert caught.value.code == "no_settings"
    with pytest.raises(UnsupportedImage):
        studio.recover(b"<svg/>")
