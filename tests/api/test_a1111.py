"""A1111's protocol, spoken by its real client against a live server; and what it may not do."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import webuiapi
from PIL import Image
from serving import make_model, picture, served

from studio import edges
from studio.api.app import web
from studio.settings import Settings
from studio.studio import Studio

Api = Any  # webuiapi has no types
SMALL = {"width": 64, "height": 64, "steps": 4}
SLOW = {"width": 64, "height": 64, "steps": 60}


def speak(address: str) -> Api:
    return webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1")


@pytest.fixture
def api(address: str) -> Iterator[Api]:
    with closing((client := speak(address)).session):
        yield client


def photo(width: int = 64, height: int = 48) -> Image.Image:
    return Image.open(BytesIO(picture(width, height)))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def post(client: httpx.Client, path: str, **body: Any) -> httpx.Response:
    return client.post(f"/sdapi/v1/{path}", json=body)


def told(answer: httpx.Response) -> dict[str, Any]:
    """The answer's `info`."""
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.json()["info"]))


def refused(answer: httpx.Response, status: int, word: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "detail", "body", "errors"} and isinstance(body["error"], str)
    assert word in body["detail"] and "Traceback" not in answer.text


def test_txt2img_gives_pictures_with_their_settings_inside(api: Api) -> None:
    done = api.txt2img(
        prompt="a red mug", negative_prompt="hands", seed=7, cfg_scale=5, sampler_name="DPM++ 2M",
        scheduler="Karras", batch_size=2, n_iter=2, **SMALL,
    )  # fmt: skip
    assert [image.size for image in done.images] == [(64, 64)] * 4
    assert done.info["all_seeds"] == [7, 8, 9, 10] and done.info["seed"] == 7
    assert done.info["cfg_scale"] == 5 and done.info["sd_model_name"] == "pocket"
    assert done.info["all_prompts"] == ["a red mug"] * 4 and done.info["index_of_first_image"] == 0
    for image, text, seed in zip(done.images, done.info["infotexts"], (7, 8, 9, 10), strict=True):
        assert image.info["parameters"] == text and f"Seed: {seed}," in text
        assert "Sampler: DPM++ 2M, Schedule type: Karras" in text and "Negative prompt: hands" in text
    assert done.parameters["batch_size"] == 2 and done.parameters["subseed"] == -1
    assert done.json["parameters"]["infotext"] is None


def test_batches_show_the_pictures_that_one_job_of_that_seed_does(api: Api) -> None:
    two = api.txt2img(prompt="a red mug", seed=20, n_iter=2, **SMALL).images
    second = api.txt2img(prompt="a red mug", seed=21, **SMALL).image
    assert np.array_equal(np.asarray(two[1]), np.asarray(second))
    assert not np.array_equal(np.asarray(two[0]), np.asarray(two[1]))


def test_what_is_left_out_is_the_models_own_choice(client: httpx.Client) -> None:
    answer = post(client, "txt2img", prompt="a red mug", steps=2)
    info = told(answer)
    assert (info["width"], info["height"], info["sampler_name"]) == (64, 64, "PLMS")
    data = base64.b64decode(answer.json()["images"][0], validate=True)
    assert Image.open(BytesIO(data)).size == (64, 64)


def test_sizes_between_eights_are_rounded_down_and_empty_prompts_taken(client: httpx.Client) -> None:
    info = told(post(client, "txt2img", width=70, height=71, steps=2))
    assert (info["width"], info["height"]) == (64, 64)


def test_img2img_starts_from_the_picture_and_hides_it_in_the_echo(api: Api, studio: Studio) -> None:
    done = api.img2img(images=[photo()], prompt="a mug", seed=1, denoising_strength=0.4, **SMALL)
    assert done.image.size == (64, 64) and done.info["denoising_strength"] == 0.4
    assert done.parameters["init_images"] is None and done.parameters["mask"] is None
    request = studio.images(limit=1)[0].request
    assert request.init_image is not None and request.mask is None and request.strength == 0.4
    start = Image.open(BytesIO(studio.picture_bytes(request.init_image)[0]))
    assert start.size == (64, 64) and start.getpixel((5, 5)) == (200, 30, 30)


def test_a_mask_is_white_where_it_is_painted_over(api: Api, studio: Studio) -> None:
    mask = Image.new("L", (32, 24), 0)
    mask.paste(255, (0, 0, 16, 24))
    for invert, side in ((0, 8), (1, 56)):
        api.img2img(
            images=[photo()], mask_image=mask, mask_blur=0, inpainting_mask_invert=invert,
            inpainting_fill=1, prompt="a mug", **SMALL,
        )  # fmt: skip
        request = studio.images(limit=1)[0].request
        assert request.mask is not None
        kept = Image.open(BytesIO(studio.picture_bytes(request.mask)[0]))
        assert kept.size == (64, 64)
        assert kept.getpixel((side, 32)) == 255 and kept.getpixel((64 - side, 32)) == 0


def test_a_masked_part_may_be_filled_with_the_colours_around_it(api: Api, studio: Studio) -> None:
    start, mask = Image.new("RGB", (64, 64), (0, 0, 200)), Image.new("L", (64, 64), 0)
    start.paste((255, 255, 0), (24, 24, 40, 40))
    mask.paste(255, (20, 20, 44, 44))
    api.img2img(images=[start], mask_image=mask, mask_blur=0, inpainting_fill=0, prompt="a mug", **SMALL)
    request = studio.images(limit=1)[0].request
    assert request.init_image is not None
    kept = Image.open(BytesIO(studio.picture_bytes(request.init_image)[0])).convert("RGB")
    middle, corner = kept.getpixel((32, 32)), kept.getpixel((2, 2))
    assert isinstance(middle, tuple) and middle[0] < 20 and middle[2] > 150 and corner == (0, 0, 200)


@pytest.mark.parametrize(("mode", "corner"), [(0, (0, 0, 0)), (1, (200, 30, 30)), (2, (0, 0, 0))])
def test_a_picture_of_another_shape_is_stretched_cropped_or_fitted(
    api: Api, studio: Studio, mode: int, corner: tuple[int, int, int]
) -> None:
    wide = Image.new("RGB", (192, 64), (200, 30, 30))
    wide.paste((0, 0, 0), (0, 0, 40, 64))
    wide.paste((0, 0, 0), (152, 0, 192, 64))
    api.img2img(images=[wide], resize_mode=mode, prompt="a mug", **SMALL)
    request = studio.images(limit=1)[0].request
    assert request.init_image is not None
    kept = Image.open(BytesIO(studio.picture_bytes(request.init_image)[0])).convert("RGB")
    assert kept.size == (64, 64) and kept.getpixel((2, 2)) == corner


def test_controlnet_steers_by_canny_and_answers_the_edges_last(api: Api, studio: Studio) -> None:
    drawn = Image.new("RGB", (64, 64), "white")
    drawn.paste((0, 0, 0), (16, 16, 48, 48))
    unit = webuiapi.ControlNetUnit(
        image=drawn, module="canny", model="control_v11p_sd15_canny [d14c016b]", weight=0.8,
        threshold_a=80, threshold_b=160, guidance_end=0.7,
    )  # fmt: skip
    done = api.txt2img(prompt="a mug", controlnet_units=[unit], alwayson_scripts={}, seed=3, **SMALL)
    control = studio.images(limit=1)[0].request.control
    assert control is not None and (control.low, control.high, control.scale) == (80, 160, 0.8)
    assert control.end == 0.7 and len(done.images) == 2
    expected = edges.canny(np.asarray(drawn), 80, 160)[:, :, 0]
    assert np.array_equal(np.asarray(done.images[1].convert("L")), expected) and expected.any()
    assert "ControlNet 0:" in done.info["infotexts"][0]


def test_thresholds_that_canny_cannot_use_fall_back(api: Api, studio: Studio) -> None:
    for low, high, kept in ((64, 64, (64, 65)), (-1, -1, (100, 200)), (180, 20, (20, 180))):
        unit = webuiapi.ControlNetUnit(image=photo(), module="canny", threshold_a=low, threshold_b=high)
        api.txt2img(prompt="a mug", controlnet_units=[unit], alwayson_scripts={}, **SMALL)
        control = studio.images(limit=1)[0].request.control
        assert control is not None and (control.low, control.high) == kept


def test_the_edges_of_a_picture_can_be_seen_before(api: Api) -> None:
    assert api.controlnet_version() >= 2
    assert api.controlnet_model_list() == api.controlnet_module_list() == ["canny"]
    seen = api.controlnet_detect([photo(64, 48)], module="canny", processor_res=96).images
    assert [image.size for image in seen] == [(128, 96)]


def test_lora_tags_in_the_prompt_join_the_stack(tmp_path: Path) -> None:
    from folders import make_lora

    make_model(tmp_path / "models" / "pocket")
    make_lora(tmp_path / "loras" / "ink.safetensors")
    settings = Settings(home=tmp_path, port=0, host="127.0.0.1", executor="fake")
    with closing(Studio.open(settings)) as studio:
        studio.start()
        with served(web(studio), settings) as address, closing(speak(address).session) as session:
            ours = webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1")
            done = ours.txt2img(prompt="a mug <lora:ink:0.6>", **SMALL)
            loras = {row["name"]: row for row in ours.get_loras()}
            ours.session.close()
            session.close()
        request = studio.images(limit=1)[0].request
    assert [(lora.name, lora.weight) for lora in request.loras] == [("ink", 0.6)]
    assert done.info["infotexts"][0].startswith("a mug <lora:ink:0.6>")
    assert loras["ink"]["path"] == "ink.safetensors"


def test_hires_makes_the_picture_again_larger(api: Api, studio: Studio) -> None:
    done = api.txt2img(
        prompt="a mug", seed=5, batch_size=2, enable_hr=True, hr_scale=2, denoising_strength=0.5, **SMALL
    )
    assert [image.size for image in done.images] == [(128, 128)] * 2
    assert done.info["all_seeds"] == [5, 6]
    request = studio.images(limit=1)[0].request
    assert request.init_image is not None and request.strength == 0.5


def test_lists_have_the_shapes_clients_read(api: Api) -> None:
    assert api.util_get_model_names() == ["pocket"] == [api.util_get_current_model()]
    assert {"Euler a", "DDIM", "DPM++ 2M", "UniPC"} <= set(api.util_get_sampler_names())
    assert "karras" in api.util_get_scheduler_names()
    assert "Lanczos" in {row["name"] for row in api.get_upscalers()}
    neon = next(row for row in api.get_prompt_styles() if row["name"] == "neon")
    assert "{prompt}" in neon["prompt"] and set(neon) == {"name", "prompt", "negative_prompt"}
    assert api.get_memory()["ram"]["total"] > 2**28 and api.get_cmd_flags()["api"] is True
    assert "controlnet" in api.get_scripts()["txt2img"]
    for empty in (api.get_sd_vae, api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models):
        assert empty() == []
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}} and api.refresh_checkpoints() is None
    assert all("/" not in json.dumps(rows) for rows in (api.get_sd_models(), api.get_loras()))


def test_a_brand_preset_is_a_style(client: httpx.Client) -> None:
    info = told(post(client, "txt2img", prompt="a mug", styles=["plain", "no such"], **SMALL))
    assert info["styles"] == ["plain"] and "style no such" in info["dropped"]


def test_the_checkpoint_is_an_option_of_the_caller(address: str, studio: Studio) -> None:
    folder = studio.settings.home / "models" / "second"
    if not folder.exists():
        make_model(folder)
    with httpx.Client(base_url=address, auth=("ada", "x")) as ada, httpx.Client(base_url=address) as bob:
        for name in ("second", "second.safetensors", "second.safetensors [0123456789]"):
            assert post(ada, "options", sd_model_checkpoint=name, junk=1).status_code == 200
            assert ada.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "second"
        assert told(post(ada, "txt2img", prompt="a mug", **SMALL))["sd_model_name"] == "second"
        assert told(post(bob, "txt2img", prompt="a mug", **SMALL))["sd_model_name"] == "pocket"
        once = {"override_settings": {"sd_model_checkpoint": "second"}}
        assert told(post(bob, "txt2img", prompt="a mug", **once, **SMALL))["sd_model_name"] == "second"
        refused(post(bob, "options", sd_model_checkpoint="nope"), 404, "pocket")


def test_png_info_tells_what_a_picture_was_made_with(api: Api) -> None:
    image = api.txt2img(prompt="a red mug", seed=9, **SMALL).image
    found = api.png_info(image)
    assert found.info == image.info["parameters"]
    assert found.parameters["Seed"] == "9" and found.parameters["Prompt"] == "a red mug"
    assert found.json["items"]["parameters"] == found.info
    assert api.png_info(photo()).info == ""


def test_pictures_are_enlarged_without_a_job(api: Api, studio: Studio) -> None:
    before = studio.status().images
    assert api.extra_single_image(photo(), upscaler_1="Lanczos", upscaling_resize=3).image.size == (192, 144)
    exact = api.extra_single_image(photo(), resize_mode=1, upscaling_resize_w=50, upscaling_resize_h=60)
    assert exact.image.size == (50, 60)
    many = api.extra_batch_images([photo(), photo(32, 32)], upscaler_1="Lanczos", upscaling_resize=2)
    assert [image.size for image in many.images] == [(128, 96), (64, 64)]
    assert studio.status().images == before


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


def test_progress_is_seen_while_it_runs_and_interrupt_keeps_what_is_done(api: Api) -> None:
    thread, found = in_background(
        lambda: api.txt2img(prompt="a mug", seed=1, n_iter=3, **SLOW | {"steps": 40})
    )
    until(lambda: api.get_progress()["state"]["job_no"] >= 1)
    seen = api.get_progress()
    assert 0.3 < seen["progress"] < 1 and seen["eta_relative"] > 0 and seen["state"]["job_count"] == 3
    assert seen["state"]["sampling_steps"] == 40
    kept: list[str] = []  # the rough picture goes when its batch ends
    until(lambda: bool(shown := api.get_progress()["current_image"]) and kept.append(shown) is None)
    assert Image.open(BytesIO(base64.b64decode(kept[0]))).format == "PNG"
    assert api.interrupt() == {}
    thread.join(timeout=20)
    assert 1 <= len(found[0].images) < 3
    assert api.get_progress()["progress"] == 0 and api.get_progress()["state"]["job_count"] == 0


def test_skip_ends_one_batch_and_goes_on(api: Api) -> None:
    thread, found = in_background(lambda: api.txt2img(prompt="a mug", seed=50, n_iter=2, **SLOW))
    until(lambda: api.get_progress()["progress"] > 0)
    assert api.skip() == {}
    thread.join(timeout=30)
    assert found[0].info["all_seeds"] == [51]


def test_one_program_neither_sees_nor_stops_the_work_of_another(address: str) -> None:
    ada, bob = speak(address), speak(address)
    with closing(ada.session), closing(bob.session):
        thread, found = in_background(lambda: ada.txt2img(prompt="a mug", seed=1, **SLOW))
        until(lambda: ada.get_progress()["progress"] > 0)
        assert bob.get_progress()["progress"] == 0 and bob.get_progress()["current_image"] is None
        bob.interrupt()
        bob.skip()
        httpx.post(f"{address}/sdapi/v1/interrupt")
        thread.join(timeout=30)
        assert len(found[0].images) == 1


def test_a_task_can_be_followed_by_its_name(client: httpx.Client) -> None:
    def ask(task: str) -> dict[str, Any]:
        return dict(client.post("/internal/progress", json={"id_task": task, "live_preview": True}).json())

    thread, _ = in_background(
        lambda: post(client, "txt2img", prompt="a mug", force_task_id="task(1)", **SLOW)
    )
    until(lambda: bool(ask("task(1)")["live_preview"]))
    assert ask("task(1)")["active"] and ask("task(1)")["live_preview"].startswith("data:image/png;base64,")
    post(client, "interrupt")
    thread.join(timeout=20)
    assert ask("task(1)")["completed"] and ask("task(2)")["textinfo"] == "Waiting..."


def test_who_leaves_takes_the_work_along(address: str, studio: Studio) -> None:
    with httpx.Client(base_url=address, timeout=0.5) as hasty, pytest.raises(httpx.ReadTimeout):
        post(hasty, "txt2img", prompt="left alone", **SLOW)
    until(lambda: studio.jobs_list(1)[0].state == "cancelled")


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("txt2img", {"sampler_name": "Eulerr"}, 400, "Euler"),
        ("txt2img", {"script_name": "x/y/z plot"}, 422, "x/y/z plot"),
        ("txt2img", {"alwayson_scripts": {"ADetailer": {"args": [True]}}}, 422, "ADetailer"),
        ("txt2img", {"steps": 0}, 422, "1 to 150"),
        ("txt2img", {"steps": "many"}, 422, "steps"),
        ("txt2img", {"cfg_scale": 99}, 422, "0 to 30"),
        ("txt2img", {"width": 4096}, 422, "2048"),
        ("txt2img", {"batch_size": 8, "n_iter": 9}, 422, "72"),
        ("txt2img", {"n_iter": 10**9}, 422, "64"),
        ("txt2img", {"seed": 2**64}, 422, "seed"),
        ("txt2img", {"override_settings": {"sd_model_checkpoint": "nope"}}, 404, "pocket"),
        ("txt2img", {"prompt": "a <lora:nope:1>"}, 404, "nope"),
        ("txt2img", {"enable_hr": True, "hr_scale": 999}, 422, "2048"),
        ("img2img", {}, 404, "Init image not found"),
        ("img2img", {"init_images": ["http://127.0.0.1:1/x.png"]}, 422, "not fetched"),
        ("img2img", {"init_images": ["@@@"]}, 422, "base64"),
        ("img2img", {"init_images": ["aGVsbG8="]}, 422, "PNG"),
        ("extra-single-image", {"image": "aGVsbG8="}, 422, "PNG"),
        ("png-info", {"image": ""}, 422, "PNG"),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_this_protocols_form(
    client: httpx.Client, studio: Studio, path: str, body: dict[str, Any], status: int, word: str
) -> None:
    jobs, files = studio.jobs_list(1), len(list((studio.settings.home / "uploads").iterdir()))
    refused(post(client, path, **{"prompt": "a mug", **body}), status, word)
    assert studio.jobs_list(1) == jobs
    assert len(list((studio.settings.home / "uploads").iterdir())) == files


def test_a_body_that_is_no_json_is_refused_too(client: httpx.Client) -> None:
    kind = {"content-type": "application/json"}
    refused(client.post("/sdapi/v1/txt2img", content=b"{", headers=kind), 400, "line 1")
    refused(client.post("/sdapi/v1/txt2img", content=b"[]", headers=kind), 422, "object")


def test_a_preprocessor_that_is_not_here_is_refused(client: httpx.Client) -> None:
    unit = {"image": base64.b64encode(picture()).decode(), "module": "openpose"}
    scripts = {"controlnet": {"args": [unit]}}
    refused(post(client, "txt2img", prompt="a mug", alwayson_scripts=scripts), 422, "canny")


def test_basic_auth_is_no_obstacle(address: str) -> None:
    host = urlsplit(address)
    api = webuiapi.WebUIApi(host=host.hostname, port=host.port, username="ada", password="x")
    with closing(api.session):
        assert api.txt2img(prompt="a mug", **SMALL).image.size == (64, 64)


def test_a_whole_task_of_open_webui_works(client: httpx.Client) -> None:
    """The calls it makes, in its order: health, model, pictures."""
    assert client.get("/sdapi/v1/options").status_code == 200
    title = client.get("/sdapi/v1/sd-models").json()[0]["title"]
    assert post(client, "options", sd_model_checkpoint=title).status_code == 200
    answer = post(client, "txt2img", prompt="a mug", batch_size=1, width=64, height=64, steps=2)
    assert told(answer)["sd_model_name"] == title and len(answer.json()["images"]) == 1
