"""The foreign protocols with the model that ships: what their clients get is what they asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
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
