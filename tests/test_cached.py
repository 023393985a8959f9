"""An identical request is answered from the library; receipts say what made a picture."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from studio.errors import Conflict
from studio.schema import Done, GenerationRequest, JobView, Picture
from studio.settings import Settings
from studio.studio import Studio


def make(studio: Studio, **fields: Any) -> JobView:
    """A job that has ended; an answer from the library has when it is submitted."""
    usual = {"prompt": "a red mug", "width": 64, "height": 64, "steps": 2, "seed": 7, "count": 2}
    return studio.wait(studio.submit(GenerationRequest(**usual | fields)).id, 20)


def test_the_same_request_with_a_seed_gets_the_same_pictures(studio: Studio) -> None:
    first = make(studio)
    again = make(studio)
    assert again.state == "completed" and again.cached and again.id != first.id
    assert again.images == first.images and not first.cached
    told = [event for _, event in studio.events(again.id)]
    assert [type(event) for event in told] == [Picture, Picture, Done]
    assert studio.library.counts() == (2, 0)


@pytest.mark.parametrize(
    "other",
    [{"seed": 8}, {"force": True}, {"prompt": "a red cup"}, {"count": 1}, {"seed": -1}, {"format": "jpeg"}],
)
def test_any_other_request_is_made(studio: Studio, other: dict[str, Any]) -> None:
    first = make(studio)
    second = make(studio, **other)
    assert not second.cached and {row.id for row in second.images}.isdisjoint(row.id for row in first.images)


def test_a_drawn_seed_is_drawn_again(studio: Studio) -> None:
    assert make(studio, seed=None).request.seed != make(studio, seed=None).request.seed


def test_what_is_in_the_trash_is_made_again(studio: Studio) -> None:
    first = make(studio)
    studio.trash([first.images[0].id])
    assert not make(studio).cached


def test_a_picture_whose_file_is_gone_is_made_again(studio: Studio) -> None:
    make(studio).images[1].file.unlink()
    assert not make(studio).cached


def test_other_weights_make_another_picture(studio: Studio, home: Path) -> None:
    make(studio)
    (weights,) = (home / "models" / "pocket" / "unet").glob("*.safetensors")
    os.utime(weights, ns=(1, 1))
    assert not make(studio).cached


def test_weights_that_were_replaced_while_the_job_waited_are_told(studio: Studio, home: Path) -> None:
    studio.jobs.pause(True)
    job = studio.submit(GenerationRequest(prompt="a mug <lora:neon:1>", width=64, height=64, steps=1))
    os.utime(home / "loras" / "neon.safetensors", ns=(1, 1))
    studio.jobs.pause(False)
    error = studio.wait(job.id, 20).error
    assert error is not None and error["code"] == "weights_changed" and "LoRA neon" in error["message"]


def test_the_same_key_is_the_same_job_whatever_seed_was_drawn(studio: Studio) -> None:
    asked = GenerationRequest(prompt="a mug", width=64, height=64, steps=1)
    first = studio.submit(asked, "key")
    assert studio.submit(asked, "key").id == first.id
    with pytest.raises(Conflict):
        studio.submit(GenerationRequest(prompt="a cup", width=64, height=64, steps=1), "key")


def test_a_receipt_names_every_weight_file_by_its_hash(studio: Studio, home: Path) -> None:
    row = make(studio, prompt="a mug <lora:neon:1>", count=1).images[0]
    receipt = studio.library.receipt(row.id)
    (unet,) = (home / "models" / "pocket" / "unet").glob("*.safetensors")
    lora = home / "loras" / "neon.safetensors"
    assert receipt["weights"][f"pocket/unet/{unet.name}"] == hashlib.sha256(unet.read_bytes()).hexdigest()
    assert receipt["weights"]["LoRA neon"] == hashlib.sha256(lora.read_bytes()).hexdigest()
    assert receipt["seed"] == 7 and receipt["device"] == "fake" and receipt["versions"]["torch"]
    assert str(home) not in str(receipt)


def test_a_hash_is_read_anew_when_its_file_changed(studio: Studio, home: Path) -> None:
    request = make(studio, prompt="a mug <lora:neon:1>").request
    before = studio.weights.hashes(request)["LoRA neon"]
    file = home / "loras" / "neon.safetensors"
    other = bytearray(file.read_bytes())
    other[-1] ^= 1
    file.write_bytes(other)  # the same size
    assert studio.weights.hashes(request)["LoRA neon"] != before


def test_nothing_reads_hashes_once_the_studio_is_closed(home: Path) -> None:
    before = set(threading.enumerate())  # other tests kill their studios
    studio = Studio.open(Settings(home=home, executor="fake"))
    request = studio.resolve(GenerationRequest(prompt="a red mug"))
    for _ in range(20):
        studio.weights.warm(request)
    assert "hashes" in str(set(threading.enumerate()) - before)
    studio.close()
    assert "hashes" not in str(set(threading.enumerate()) - before)
    studio.weights.warm(request)
