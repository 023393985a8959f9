"""Two users and an admin: each sees their own work, and nobody learns what others have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from serving import STEP, ended, make_model, picture, refused, served

from studio import people
from studio.api.app import web
from studio.executors import FakeExecutor
from studio.people import Person, speaking
from studio.settings import Settings
from studio.studio import Studio

WORD = "correct horse battery"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    home = tmp_path_factory.mktemp("shared")
    make_model(home / "models" / "pocket")
    with closing(Studio.open(Settings(home=home, port=0, host="127.0.0.1"), FakeExecutor(STEP))) as studio:
        for name in ("anna", "berta", "chief"):
            studio.accounts.add_user(name, WORD, admin=name == "chief")
        studio.start()
        yield studio


@pytest.fixture(scope="module")
def users(house: Studio) -> Iterator[dict[str, httpx.Client]]:
    with served(web(house), house.settings) as address:
        clients = {name: httpx.Client(base_url=address, timeout=30) for name in ("anna", "berta", "chief")}
        for name, client in clients.items():
            assert client.post("/login", data={"name": name, "password": WORD}).status_code == 303
        yield clients
        for client in clients.values():
            client.close()


@pytest.fixture(scope="module")
def annas(users: dict[str, httpx.Client]) -> dict[str, Any]:
    """A job of Anna's with its picture, and an upload."""
    anna = users["anna"]
    job = anna.post("/api/v1/jobs", json={"prompt": "annas secret", "steps": 2}).json()["id"]
    done = ended(anna, job)
    upload = anna.post("/api/v1/uploads", files={"file": picture()}).json()["id"]
    return {"job": job, "image": done["images"][0]["id"], "upload": upload}


def everything(client: httpx.Client, ids: dict[str, Any]) -> list[httpx.Response]:
    job, image, upload = ids["job"], ids["image"], ids["upload"]
    asked = {"prompt": "a", "steps": 1}
    return [
        client.get(f"/api/v1/jobs/{job}"),
        client.get(f"/api/v1/jobs/{job}/events"),
        client.delete(f"/api/v1/jobs/{job}"),
        client.get(f"/api/v1/images/{image}"),
        client.get(f"/api/v1/images/{image}/file"),
        client.get(f"/api/v1/images/{upload}/file"),
        client.post("/api/v1/jobs", json=asked | {"init_image": upload}),
        client.post("/api/v1/jobs", json=asked | {"control": {"image": image}}),
        client.post("/generate", json=asked | {"init_image": image}),
        client.get(f"/api/v1/images/{image}/receipt"),
        client.post("/api/v1/images/star", json={"images": [image]}),
        client.post("/api/v1/images/restore", json={"images": [image]}),
        client.patch(f"/api/v1/jobs/{job}", json={"priority": 1}),
    ]


def test_another_users_things_do_not_exist(users: dict[str, httpx.Client], annas: dict[str, Any]) -> None:
    unknown = dict.fromkeys(annas, "0" * 32)
    for theirs, none in zip(
        everything(users["berta"], annas), everything(users["berta"], unknown), strict=True
    ):
        refused(theirs, 404)
        told, known = theirs.text, none.text
        for id in annas.values():
            told = told.replace(id, "ID")
        assert told == known.replace("0" * 32, "ID")


def test_the_owner_and_an_admin_see_them(users: dict[str, httpx.Client], annas: dict[str, Any]) -> None:
    for name in ("anna", "chief"):
        answers = everything(users[name], annas)
        statuses = [200, 200, 409, 200, 200, 200, 202, 202, 200, 200, 200, 200, 409]
        assert [answer.status_code for answer in answers] == statuses


def test_lists_hold_ones_own(users: dict[str, httpx.Client], annas: dict[str, Any]) -> None:
    users["berta"].post("/api/v1/jobs", json={"prompt": "bertas", "steps": 1})
    for path, id in (("jobs", annas["job"]), ("images", annas["image"])):
        seen = {name: users[name].get(f"/api/v1/{path}?limit=200").json() for name in users}
        assert id in [row["id"] for row in seen["anna"]] and id in [row["id"] for row in seen["chief"]]
        assert id not in [row["id"] for row in seen["berta"]]
    assert "secret" not in users["berta"].get("/api/v1/jobs").text
    assert users["berta"].get("/api/v1/images?search=secret").json() == []


def test_without_the_check_another_users_things_are_there(
    users: dict[str, httpx.Client], annas: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Person, "sees_all", True)
    assert users["berta"].get(f"/api/v1/jobs/{annas['job']}").status_code == 200


def test_a_collection_shares_what_its_owner_put_in(
    users: dict[str, httpx.Client], annas: dict[str, Any]
) -> None:
    anna, berta = users["anna"], users["berta"]
    made = ended(anna, anna.post("/api/v1/jobs", json={"prompt": "for all", "steps": 1}).json()["id"])
    image = made["images"][0]["id"]
    shelf = berta.post("/api/v1/collections", json={"name": "Autumn"}).json()["id"]
    refused(berta.post(f"/api/v1/collections/{shelf}/add", json={"images": [image]}), 404, "image_not_found")
    assert anna.post(f"/api/v1/collections/{shelf}/add", json={"images": [image]}).status_code == 200
    shared = berta.get(f"/api/v1/images?collection={shelf}").json()
    assert [row["id"] for row in shared] == [image]
    assert berta.get(f"/api/v1/images/{image}/file").status_code == 200
    refused(berta.post("/api/v1/images/trash", json={"images": [image]}), 404)  # to look at, not to change


def test_a_picture_is_trashed_by_its_owner_only(house: Studio, annas: dict[str, Any]) -> None:
    from studio.errors import NotFound

    with speaking(Person("berta", people.LOCAL.scopes - {"admin"})):
        for verb in (house.trash, house.restore):
            with pytest.raises(NotFound):
                verb([annas["image"]])
        with pytest.raises(NotFound):
            house.edges(annas["upload"], 100, 200)
    assert not house.image(annas["image"]).trashed


def test_who_is_nobody_sees_nothing(house: Studio, annas: dict[str, Any]) -> None:
    with speaking(people.NOBODY):
        assert house.images() == [] and house.jobs_list() == []


def test_a_hundred_jobs_at_once_reach_their_own_users(users: dict[str, httpx.Client]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> tuple[str, str]:
        name = ("anna", "berta")[number % 2]
        answer = users[name].post("/generate", json={"prompt": f"{name} {number}", "steps": 1})
        return name, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(ask, range(100)))
    for name, id in made:
        other = "berta" if name == "anna" else "anna"
        assert users[name].get(f"/api/v1/jobs/{id}").json()["request"]["prompt"].startswith(name)
        refused(users[other].get(f"/api/v1/jobs/{id}"), 404)
