"""The foreign protocols with the model that ships: what their clients get is what they asked for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import numpy as np
import openai
import pytest
import webuiapi
from PIL import Image
from serving import served

from studio.api.app import web
from studio.settings import ROOT, Settings
from studio.studio import Studio

POCKET = ROOT / "assets" / "models" / "pocket" / "model_index.json"
pytestmark = pytest.mark.skipif(not POCKET.exists(), reason="the pocket model has not been made: make pocket")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0, host="127.0.0.1")
    with closing(Studio.open(settings)) as studio:
        studio.start()
        with served(web(studio), settings) as address:
            yield address


def middle(image: Image.Image) -> Any:
    """Mean red, green and blue of the middle quarter."""
    pixels = np.asarray(image.convert("RGB").resize((128, 128)), float)
    return pixels[48:80, 48:80].mean((0, 1))


def corner(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB").resize((128, 128)), float)[:12, :12].mean((0, 1))


def test_a1111s_client_gets_the_colours_it_asks_for(address: str) -> None:
    api = webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1")
    asked = {"seed": 2, "width": 128, "height": 128, "steps": 14, "cfg_scale": 3, "sampler_name": "DDIM"}
    with closing(api.session):
        first = api.txt2img(prompt="a red mug on a blue background", **asked).image
        again = api.img2img(
            images=[first], prompt="a green mug on a blue background", denoising_strength=0.9, **asked
        ).image
    assert middle(first)[0] > middle(first)[2] + 40 and corner(first)[2] > corner(first)[0] + 40
    assert middle(again)[1] > middle(again)[0] + 20


def test_openais_client_gets_the_colours_it_asks_for(address: str) -> None:
    asked: Any = {"model": "pocket", "extra_body": {"seed": 2, "steps": 60}}  # a preview each half second
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as ai:
        *rough, done = ai.images.generate(
            prompt="a red mug on a blue background", stream=True, partial_images=2, **asked
        )
    image = Image.open(BytesIO(base64.b64decode(done.b64_json)))
    assert middle(image)[0] > middle(image)[2] + 40 and corner(image)[2] > corner(image)[0] + 40
    assert rough and Image.open(BytesIO(base64.b64decode(rough[-1].b64_json))).size == image.size
