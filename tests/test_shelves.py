"""The library as people use it: stars, collections, search by what a picture is, and making one again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from studio.api.app import unwalled
from studio.errors import BadRequest, Conflict, NotFound
from studio.jobs.replay import compare, differences
from studio.library.colours import colours_of, name_of
from studio.schema import GenerationRequest, ImageRow
from studio.studio import Studio


def make(studio: Studio, prompt: str = "a red mug", **fields: Any) -> ImageRow:
    asked = GenerationRequest(**{"prompt": prompt, "width": 64, "height": 64, "steps": 1, **fields})
    return studio.wait(studio.submit(asked).id, 20).images[0]


def found(studio: Studio, *args: Any, **options: Any) -> list[str]:
    return [row.id for row in studio.images(*args, **options)]


def test_stars_are_kept_and_shown_alone(studio: Studio) -> None:
    one, two = make(studio), make(studio)
    studio.star([one.id], True)
    assert found(studio, star=True) == [one.id] and studio.image(one.id).star
    with pytest.raises(NotFound):
        studio.star([two.id, "0" * 32], True)
    assert not studio.image(two.id).star
    studio.star([one.id], False)
    assert found(studio, star=True) == []


def test_a_collection_holds_pictures_of_any_age(studio: Studio) -> None:
    one, two, _ = (make(studio) for _ in range(3))
    shelves = studio.library.collections
    made = shelves.make("  Spring   campaign ", "local")
    assert made.name == "Spring campaign" and made.images == 0
    assert shelves.put(made.id, [one.id, two.id, one.id]).images == 2
    assert shelves.put(made.id, [one.id]).images == 2
    assert found(studio, collection=made.id) == [two.id, one.id]
    assert found(studio, "mug", collection=made.id, star=True) == []
    studio.trash([two.id])
    assert found(studio, collection=made.id) == [one.id] and shelves.get(made.id).images == 1
    shelves.take(made.id, [one.id])
    assert found(studio, collection=made.id) == [] and shelves.of(two.id) == [made.id]
    shelves.remove(made.id)
    assert shelves.rows() == [] and len(found(studio)) == 2


@pytest.mark.parametrize("name", ["", "  ", "\0", "x" * 81])
def test_a_collections_name_is_some_letters(studio: Studio, name: str) -> None:
    with pytest.raises(BadRequest):
        studio.library.collections.make(name, "local")


def test_no_two_collections_share_a_name(studio: Studio) -> None:
    one = studio.library.collections.make("Spring", "local")
    other = studio.library.collections.make("Autumn", "local")
    with pytest.raises(Conflict):
        studio.library.collections.make("Spring", "anna")
    with pytest.raises(Conflict):
        studio.library.collections.rename(other.id, "Spring")
    assert studio.library.collections.rename(one.id, "Summer").name == "Summer"


def test_pictures_are_found_by_preset_lora_date_and_colour(studio: Studio, home: Path) -> None:
    plain = make(studio, "a mug")
    styled = make(studio, "红色的杯子 <lora:neon:1>", preset="plain")
    assert found(studio, "preset:plain") == [styled.id] and found(studio, "preset:none") == [plain.id]
    assert found(studio, "lora:neon") == [styled.id] and found(studio, "杯子") == [styled.id]
    assert found(studio, "model:pocket") == [styled.id, plain.id]
    assert found(studio, "date:20") == [styled.id, plain.id] and found(studio, "date:1999") == []
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "#d01818").save(out, "PNG")
    row = studio.library.add("j", plain.request, picture_of(out.getvalue()), out.getvalue())
    assert row is not None and row.id in found(studio, "colour:red mug")
    assert row.id not in found(studio, "colour:green mug")


def picture_of(data: bytes) -> Any:
    from studio.schema import Rendered

    return Rendered(0, 1, 64, 64, data, 0.1)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("#d01818", "red"), ("#ff8c1a", "orange"), ("#7a4a1e", "brown"), ("#f2d21b", "yellow"),
        ("#2e9e3f", "green"), ("#1c4fd6", "blue"), ("#7b2fbf", "purple"), ("#f07ab0", "pink"),
        ("#000000", "black"), ("#808080", "grey"), ("#fdfdfd", "white"), ("#1fb8c4", "cyan"),
    ],
)  # fmt: skip
def test_colours_have_the_names_people_give_them(colour: str, name: str) -> None:
    assert name_of(*(int(colour[at : at + 2], 16) for at in (1, 3, 5))) == name


def test_details_are_no_colour_of_a_picture() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, :] = (20, 80, 220)
    pixels[:30, :30] = (255, 0, 0)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True)
    assert colours_of(out.getvalue()) == ("blue",) and colours_of(b"no picture") == ()


def test_a_picture_made_again_is_the_same(studio: Studio) -> None:
    row = make(studio, seed=5, count=3)
    last = studio.job(row.job).images[2]
    again = studio.replay(last.id)
    assert again.verdict == "identical" and again.psnr is None and again.why == ()
    assert studio.library.counts() == (3, 0)


def test_a_picture_of_other_weights_says_so(studio: Studio, home: Path) -> None:
    row = make(studio, "a mug <lora:neon:1>", seed=5, format="jpeg")
    file = home / "loras" / "neon.safetensors"
    other = bytearray(file.read_bytes())
    other[-1] ^= 1
    file.write_bytes(other)
    again = studio.replay(row.id)
    assert "LoRA neon has other weights now" in again.why
    assert again.verdict in ("visually_same", "different") and again.psnr is not None


def test_nearly_the_same_and_another_picture_are_told_apart() -> None:
    def png(pixels: Any) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        return out.getvalue()

    one = np.full((8, 8, 3), 100, np.uint8)
    assert compare("i", png(one), png(one + 1), False, ("why",)).verdict == "visually_same"
    assert compare("i", png(one), png(one + 20), False, ()).verdict == "different"
    assert compare("i", png(one), png(one[:4]), False, ()).why[0].startswith("the size is 8 x 4 px now")


def test_receipts_are_compared_as_far_as_the_older_one_goes() -> None:
    then = {"device": "cpu", "versions": {"torch": "2.12"}, "weights": {"a": "1"}, "batch": []}
    now = {"device": "cuda", "versions": {"torch": "2.13", "new": "1"}, "weights": {"a": "1"}, "batch": (2,)}
    assert differences(then, now) == ("device was cpu, is cuda", "torch was 2.12, is 2.13")
    assert differences({}, now) == ("it was made before receipts were kept",)


@pytest.fixture
def client(studio: Studio) -> httpx.Client:
    return TestClient(unwalled(studio))


def test_the_api_has_it_all(studio: Studio, client: httpx.Client) -> None:
    row = make(studio, seed=5)
    api = "/api/v1"
    assert client.post(f"{api}/images/star", json={"images": [row.id]}).json() == {"changed": 1}
    assert [one["id"] for one in client.get(f"{api}/images?star=true").json()] == [row.id]
    made = client.post(f"{api}/collections", json={"name": "Spring"})
    assert made.status_code == 201
    at = f"{api}/collections/{made.json()['id']}"
    assert client.post(f"{at}/add", json={"images": [row.id]}).json()["images"] == 1
    inside = client.get(f"{api}/images", params={"collection": made.json()["id"]}).json()
    assert [one["id"] for one in inside] == [row.id]
    assert client.patch(at, json={"name": "Summer"}).json()["name"] == "Summer"
    assert client.post(f"{at}/take", json={"images": [row.id]}).json()["images"] == 0
    assert client.delete(at).status_code == 204 and client.get(f"{api}/collections").json() == []
    assert client.delete(at).json()["error"]["code"] == "collection_not_found"
    assert client.post(f"{api}/images/trash", json={"images": [row.id]}).json() == {"changed": 1}
    assert [one["id"] for one in client.get(f"{api}/images?trash=true").json()] == [row.id]
    client.post(f"{api}/images/restore", json={"images": [row.id]})
    receipt = client.get(f"{api}/images/{row.id}/receipt").json()
    assert receipt["seed"] == 5 and len(receipt["weights"]) > 2
    assert client.post(f"{api}/images/{row.id}/replay").json()["verdict"] == "identical"
    assert client.get(f"{api}/images/{'0' * 32}/receipt").status_code == 404


def test_the_queue_can_be_looked_at_paused_and_changed(studio: Studio, client: httpx.Client) -> None:
    api = "/api/v1"
    assert client.patch(f"{api}/queue", json={"paused": True}).json()["paused"]
    asked = {"prompt": "a mug", "width": 64, "height": 64, "steps": 1}
    ids = [client.post(f"{api}/jobs", json=asked).json()["id"] for _ in range(3)]
    assert client.get(f"{api}/queue").json()["waiting"] == ids
    assert client.get(f"{api}/jobs/{ids[1]}").json()["position"] == 1
    moved = client.patch(f"{api}/jobs/{ids[2]}", json={"before": ids[0]})
    assert moved.json()["position"] == 0
    assert client.patch(f"{api}/jobs/{ids[0]}", json={"held": True}).json()["held"]
    assert client.get(f"{api}/queue").json()["waiting"] == [ids[2], ids[1]]
    assert client.patch(f"{api}/jobs/{ids[0]}", json={"priority": 101}).status_code == 422
    client.patch(f"{api}/queue", json={"paused": False})
    assert [studio.wait(id, 20).state for id in ids[1:]] == ["completed", "completed"]
    assert studio.job(ids[0]).state == "queued"
    assert client.patch(f"{api}/jobs/{ids[1]}", json={"held": True}).status_code == 409


def test_a_key_makes_one_job_of_two_posts(client: httpx.Client) -> None:
    asked = {"prompt": "a mug", "width": 64, "height": 64, "steps": 1}
    key = {"idempotency-key": "one"}
    first, again = (client.post("/api/v1/jobs", json=asked, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"]
    other = client.post("/api/v1/jobs", json=asked | {"steps": 2}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    for bad in ("", "x" * 256):
        refused = client.post("/api/v1/jobs", json=asked, headers={"idempotency-key": bad})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_idempotency_key")


def test_a_client_gets_the_picture_without_its_settings(studio: Studio, client: httpx.Client) -> None:
    row = make(studio, "S3CR3T-PROMPT")
    whole = client.get(f"/api/v1/images/{row.id}/file").content
    plain = client.get(f"/api/v1/images/{row.id}/file?metadata=client").content
    assert b"S3CR3T-PROMPT" in whole and b"S3CR3T-PROMPT" not in plain
