"""What a brand file says beyond a request's fields is kept to by every door, and travels in kits."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import make_lora, make_model
from PIL import Image
from starlette.testclient import TestClient

from studio.api.app import web
from studio.brand.sheet import read_sheet
from studio.campaigns import Options
from studio.cli.app import app
from studio.errors import Conflict, NotFound, PresetInvalid, UnsupportedImage
from studio.executors import FakeExecutor
from studio.schema import GenerationRequest, Rendered, ResolvedRequest
from studio.settings import Settings
from studio.studio import Studio

BRAND = """version: 1
name: acme
prompt: '{prompt}, acme'
negative_prompt: text
steps: 9
guidance: 4
scheduler: euler
width: 64
height: 96
model: pocket
loras: [{name: acme, weight: 0.8}]
locked: [negative_prompt, steps, guidance, scheduler, width, height, model, loras, background]
"""
SIZED = "version: 1\nname: shop\nsizes: {Shop: 96x64, Print: 64x128}\n"
ASKED = "a red mug on a blue background <lora:other:1>"


@pytest.fixture
def brands(home: Path) -> Iterator[Studio]:
    """A brand that locks all it can, one with sizes, and what could be asked for instead."""
    for name in ("acme", "other"):
        make_lora(home / "loras" / f"{name}.safetensors")
    make_model(home / "models" / "rival")
    with closing(Studio.open(Settings(home=home), FakeExecutor())) as studio:
        studio.kits.save("acme", BRAND, "anna")
        studio.kits.save("shop", SIZED, "anna")
        studio.start()
        yield studio


@pytest.fixture
def client(brands: Studio) -> Iterator[TestClient]:
    with TestClient(web(brands), base_url="http://localhost") as client:
        yield client


Client = TestClient
OWN: dict[str, Any] = {"negative_prompt": "mine", "steps": 3}


def by_jobs(client: Client) -> None:
    more = {"guidance": 9.0, "scheduler": "ddim", "width": 128, "height": 128, "model": "rival"}
    loras = [{"name": "other", "weight": 1.0}]
    body = {"prompt": ASKED, "preset": "acme", "loras": loras, **OWN, **more}
    client.post("/api/v1/jobs", json=body).raise_for_status()


def by_generate(client: Client) -> None:
    client.post("/generate", json={"prompt": ASKED, "preset": "acme", **OWN}).raise_for_status()


def by_a1111(client: Client) -> None:
    body = {
        "prompt": ASKED, "styles": ["acme"], "sampler_name": "DDIM", "cfg_scale": 9, "width": 128,
        "height": 128, "override_settings": {"sd_model_checkpoint": "rival"}, **OWN,
    }  # fmt: skip
    client.post("/sdapi/v1/txt2img", json=body).raise_for_status()


def by_openai(client: Client) -> None:
    body = {"prompt": ASKED, "model": "rival", "size": "128x128", "preset": "acme", **OWN}
    client.post("/v1/images/generations", json=body).raise_for_status()


def by_campaign(client: Client) -> None:
    rows = [{"prompt": ASKED, "preset": "acme", "size": "128x128", "loras": "other:1", **OWN}]
    client.post("/api/v1/campaigns", json={"rows": rows}).raise_for_status()


def by_grid(client: Client) -> None:
    request = {"prompt": ASKED, "preset": "acme", **OWN}
    body = {"request": request, "x": {"field": "model", "values": "rival"}}
    client.post("/api/v1/grids", json=body).raise_for_status()


@pytest.mark.parametrize("door", [by_jobs, by_generate, by_a1111, by_openai, by_campaign, by_grid])
def test_what_a_brand_locks_no_door_opens(
    brands: Studio, client: Client, door: Callable[[Client], None]
) -> None:
    door(client)
    request = ran(brands)
    assert request.prompt == "a red mug, acme" and request.negative_prompt == "text"
    assert (request.model, request.scheduler, request.steps) == ("pocket", "euler", 9)
    assert (request.guidance, request.width, request.height) == (4.0, 64, 96)
    assert [(lora.name, lora.weight) for lora in request.loras] == [("acme", 0.8)]


def ran(studio: Studio) -> ResolvedRequest:
    """The newest job's request, once there is one: campaigns hand theirs in a moment later."""
    import time

    until = time.monotonic() + 20
    while not (jobs := studio.jobs_list(1)):
        assert time.monotonic() < until
        time.sleep(0.02)
    return studio.wait(jobs[0].id).request


def test_the_command_line_does_not_open_a_lock_either(
    brands: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    monkeypatch.setenv("STUDIO_HOME", str(brands.settings.home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    brands.close()
    words = [ASKED, "--preset", "acme", "--steps", "3", "--width", "128", "--lora", "other:1"]
    said = CliRunner().invoke(app, ["generate", *words, "--out", str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    with closing(Studio.open(brands.settings, FakeExecutor())) as studio:
        request = ran(studio)
    assert (request.prompt, request.steps, request.width) == ("a red mug, acme", 9, 64)
    assert [lora.name for lora in request.loras] == ["acme"]


def test_who_writes_the_frame_himself_does_not_get_around_the_locks(brands: Studio) -> None:
    framed = GenerationRequest(prompt=f"{ASKED}, acme", preset="acme")
    request = brands.resolve(framed)
    assert request.prompt == "a red mug, acme" and [lora.name for lora in request.loras] == ["acme"]
    nested = brands.resolve(GenerationRequest(prompt="a <lo<lora:x:1>ra:other:1> mug", preset="acme"))
    assert [lora.name for lora in nested.loras] == ["acme"]


def test_a_style_that_is_drawn_does_not_get_around_the_lock(brands: Studio) -> None:
    (brands.settings.home / "wildcards").mkdir()
    (brands.settings.home / "wildcards" / "any.txt").write_text("<lora:other:1>\n")
    for prompt in ("a mug __any__", "a mug <lo{r|r}a:other:1>"):
        free = brands.resolve(GenerationRequest(prompt=prompt))
        assert [lora.name for lora in free.loras] == ["other"]
        held = brands.resolve(GenerationRequest(prompt=prompt, preset="acme"))
        assert [lora.name for lora in held.loras] == ["acme"]


def test_a_row_without_a_size_is_as_large_as_its_channel(brands: Studio) -> None:
    sheet = read_sheet(
        b"sku,product,channel,size,preset\n"
        b"A,mug,shop | print,,shop\n"  # two channels, two sizes
        b"B,mug,print,128x128,shop\n"  # what the row says goes first
        b"C,mug,radio,,shop\n"  # no such channel: the model's own
        b"D,mug,shop,,\n"  # no brand: the model's own
    )
    shots = brands.campaigns.plan(sheet, Options()).shots
    sizes = [(shot.request.width, shot.request.height) for shot in shots]
    assert sizes == [(96, 64), (64, 128), (128, 128), (None, None), (None, None)]


def test_the_api_tells_what_a_brand_file_says(brands: Studio, client: Client) -> None:
    text = (
        "version: 1\nname: full\npalette: {red: {hex: '#c8102e', role: primary}, ink: '#000000'}\n"
        "fonts: {heading: Noto Serif SC}\nsizes: {Shop: 96x64}\nsamples: [a.png]\npolicies: {mark: off}\n"
    )
    view = client.put("/api/v1/presets/full", json={"text": text}).json()
    assert view["palette"] == {"red": "#C8102E", "ink": "#000000"} and view["roles"] == {"red": "primary"}
    assert (view["fonts"], view["sizes"]) == ({"heading": "Noto Serif SC"}, {"Shop": "96x64"})
    assert (view["samples"], view["policies"]) == (["a.png"], {"mark": "off"})
    assert view in client.get("/api/v1/presets").json()


def picture(kind: str = "PNG", colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, kind)
    return out.getvalue()


def test_samples_are_kept_served_and_travel_in_a_kit(brands: Studio, client: Client, tmp_path: Path) -> None:
    def send(data: bytes, **query: Any) -> Any:
        return client.post("/api/v1/kits/samples", params=query, files={"file": data})

    assert send(picture("JPEG"), name="Spring 2026!").json() == {"kind": "samples", "file": "spring-2026.jpg"}
    assert send(picture("PNG", "blue"), name="春").json()["file"] == "sample.png"
    taken = send(picture("PNG", "green"), name="sample")
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "sample_exists")
    assert send(picture("PNG", "green"), name="sample", replace=True).status_code == 201
    assert send(b"GIF89a", name="x").status_code == 422
    served = client.get("/api/v1/kits/samples/sample.png")
    assert (
        served.headers["content-type"] == "image/png"
        and served.headers["x-content-type-options"] == "nosniff"
    )
    assert client.get("/api/v1/kits/samples/..%2F..%2Fstudio.db").status_code == 404
    assert client.get("/api/v1/kits/keys/x.png").status_code == 422
    brands.kits.save("shop", SIZED + "samples: [spring-2026.jpg, sample.png]\n", "anna")
    make_model(tmp_path / "there" / "models" / "pocket")
    with closing(Studio.open(Settings(home=tmp_path / "there"), FakeExecutor())) as other:
        out = io.BytesIO()
        brands.trade.export("shop", "anna", out)
        other.trade.bring(io.BytesIO(out.getvalue()), "shop.brandkit", "ben")
        for name in ("spring-2026.jpg", "sample.png"):
            here, there = brands.kits.picture("samples", name), other.kits.picture("samples", name)
            assert here is not None and there is not None and here.read_bytes() == there.read_bytes()


def test_a_kit_with_a_sample_that_is_none_or_gone_is_refused(brands: Studio) -> None:
    brands.kits.save("shop", SIZED + "samples: [gone.png]\n", "anna")
    with pytest.raises(NotFound) as caught:
        brands.trade.export("shop", "anna", io.BytesIO())
    assert caught.value.code == "sample_missing"
    brands.kits.add_picture("samples", "gone.png", b"no picture")
    out = io.BytesIO()
    brands.trade.export("shop", "anna", out)
    with pytest.raises(UnsupportedImage):
        brands.trade.bring(io.BytesIO(out.getvalue()), "shop.brandkit", "ben")


@pytest.mark.parametrize("name", ["../a.png", "a.gif", "a/b.png", "", ".png"])
def test_no_picture_is_kept_under_a_name_that_is_a_place(brands: Studio, name: str) -> None:
    with pytest.raises(PresetInvalid):
        brands.kits.add_picture("samples", name, picture())
    with pytest.raises(PresetInvalid):
        brands.kits.add_picture("logos", "a.jpg", picture())


def test_another_logo_of_the_name_is_not_overwritten_unasked(brands: Studio) -> None:
    brands.kits.add_picture("logos", "acme.png", picture())
    with pytest.raises(Conflict) as caught:
        brands.kits.add_picture("logos", "acme.png", picture(colour="blue"))
    assert caught.value.code == "logo_exists"


def with_policies(studio: Studio, policies: str) -> str:
    """Id of a picture of a brand with them."""
    studio.kits.save("strict", f"version: 1\nname: strict\npolicies: {policies}\n", "anna")
    request = GenerationRequest(prompt="a mug", preset="strict", width=256, height=256, steps=2, seed=5)
    return studio.wait(studio.submit(request).id).images[0].id


def test_a_brand_says_what_downloads_hold(brands: Studio, client: Client) -> None:
    id = with_policies(brands, "{metadata: client}")
    address = f"/api/v1/images/{id}/file"
    assert b"parameters" not in client.get(address, params={"download": True}).content
    asked = {"download": True, "metadata": "internal"}
    assert b"parameters" in client.get(address, params=asked).content  # who says it, gets it
    assert b"parameters" in client.get(address).content  # as the page shows it
    with_policies(brands, "{metadata: internal}")
    assert b"parameters" in client.get(address, params={"download": True}).content


def test_a_brand_decides_on_the_mark_in_clients_copies(brands: Studio) -> None:
    id = with_policies(brands, "{mark: off}")
    copy, _ = brands.client_copy(id)
    assert pixels(copy) == pixels(brands.picture_bytes(id)[0])
    assert brands.verify(copy).verdict == "ours, unchanged"  # the signed manifest stays
    with_policies(brands, "{mark: on}")
    assert pixels(brands.client_copy(id)[0]) != pixels(brands.picture_bytes(id)[0])


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("policies", "rules", "done"),
    [
        ("{safety: block}", "flag", "block"),
        ("{safety: flag}", "block", "block"),  # the stricter one
        ("{protected: block}", "blur", "blur"),  # of another check
    ],
)
def test_the_stricter_of_brand_and_studio_is_followed(
    home: Path, policies: str, rules: str, done: str
) -> None:
    (home / "rules.yaml").write_text(f"safety: {rules}\n")
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(out, "PNG")
    seen = {
        "check": "safety",
        "looked_for": 1,
        "findings": [{"match": "x", "score": 0.9, "box": (0, 0, 1, 1)}],
    }
    with closing(Studio.open(Settings(home=home), FakeExecutor())) as studio:
        studio.kits.save("strict", f"version: 1\nname: strict\npolicies: {policies}\n", "anna")
        request = studio.resolve(GenerationRequest(prompt="a mug", preset="strict"))
        picture = Rendered(0, 5, 64, 64, out.getvalue(), 1.0, checks=(seen,))
        (check,) = studio._judged(picture, request).checks
    assert check["done"] == done
