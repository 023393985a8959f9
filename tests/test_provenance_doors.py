"""Rules, client copies and verification through the studio, its API and the command line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from folders import make_model
from PIL import Image
from starlette.testclient import TestClient

from bench.protected_marks import as_known, place, scene
from studio.api.app import web
from studio.errors import BadRequest
from studio.executors import FakeExecutor
from studio.review.links import ShareRequest
from studio.schema import Event, GenerationRequest, Rendered
from studio.settings import Settings
from studio.studio import Studio


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_model(tmp_path / "home" / "models" / "pocket")
    (tmp_path / "home" / "rules.yaml").write_text("banned: [cigarette]\n")
    return tmp_path / "home"


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    with closing(Studio.open(Settings(home=home, review_port=0), FakeExecutor())) as studio:
        studio.start()
        yield studio


def made(studio: Studio) -> str:
    request = GenerationRequest(prompt="a red mug", width=256, height=256, steps=2, seed=5)
    return studio.wait(studio.submit(request).id).images[0].id


@pytest.mark.parametrize(
    "prompt", ["a cigarette", "a (cigar:1.2)ette", "a ((CIGARETTE))", "x BREAK cigarette"]
)
def test_a_banned_word_is_refused_before_anything_is_queued(studio: Studio, prompt: str) -> None:
    with pytest.raises(BadRequest, match="a rule of this studio"):
        studio.submit(GenerationRequest(prompt=prompt))
    assert studio.jobs_list() == []


def test_a_brand_has_words_of_its_own(studio: Studio, home: Path) -> None:
    (home / "presets").mkdir()
    brand = "version: 1\nprompt: '{prompt}, acme'\nbanned: [plastic]\nrequired: [acme, mug]\n"
    (home / "presets" / "acme.yaml").write_text(brand)
    assert studio.resolve(GenerationRequest(prompt="a mug", preset="acme")).prompt == "a mug, acme"
    assert studio.resolve(GenerationRequest(prompt="plastic")).prompt == "plastic"
    for prompt, code in (("a (plas:1.3)tic mug", "banned_word"), ("a cup", "required_word")):
        with pytest.raises(BadRequest, match="a rule of preset acme") as caught:
            studio.resolve(GenerationRequest(prompt=prompt, preset="acme"))
        assert caught.value.code == code


def test_a_client_copy_comes_home_again(studio: Studio) -> None:
    id = made(studio)
    copy, mime = studio.client_copy(id)
    assert mime == "image/png" and b"red mug" not in copy
    assert studio.verify(copy).verdict == "ours, unchanged"
    stripped = io.BytesIO()
    Image.open(io.BytesIO(copy)).convert("RGB").save(stripped, "JPEG", quality=85)
    found = studio.verify(stripped.getvalue())
    assert (found.verdict, found.manifest, found.pictures) == ("ours, changed since", None, (id,))


def test_what_clients_see_and_download_in_the_room_is_marked_and_signed(studio: Studio) -> None:
    """Through the room's own HTTP; and nothing of how it was made goes with it."""
    id = made(studio)
    url = studio.share(ShareRequest(images=(id,), download="copy")).url
    page = httpx.get(url)
    (shown,) = re.findall(r'data-picture="([0-9a-f]+)"', page.text)
    cookies = dict(page.cookies)
    for path in ("picture", "copy"):
        file = httpx.get(f"{url}/{path}/{shown}", cookies=cookies).content
        found = studio.verify(file)
        assert (found.verdict, found.pictures) == ("ours, unchanged", (id,)), path
        for secret in (b"red mug", b"parameters", b"euler", str(studio.settings.home).encode()):
            assert secret not in file
        out = io.BytesIO()
        Image.open(io.BytesIO(file)).convert("RGB").save(out, "JPEG", quality=80)
        assert studio.verify(out.getvalue()).pictures == (id,), path


def test_what_is_kept_has_no_mark(studio: Studio) -> None:
    assert studio.verify(studio.picture_bytes(made(studio))[0]).mark == ""


def test_the_api_verifies(studio: Studio) -> None:
    copy, _ = studio.client_copy(made(studio))
    with TestClient(web(studio), base_url="http://127.0.0.1") as client:
        answer = client.post("/api/v1/verify", files={"file": ("a.png", copy)})
        assert answer.json()["verdict"] == "ours, unchanged"
        assert client.post("/api/v1/verify", files={"file": ("a.png", b"GIF89a")}).status_code == 422


def test_the_command_line_verifies(
    home: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studio.cli.verify import verify

    file = home / "copy.png"
    file.write_bytes(studio.client_copy(made(studio))[0])
    monkeypatch.setenv("STUDIO_HOME", str(home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    verify(file, as_json=True)
    assert json.loads(capsys.readouterr().out)["manifest"]["state"] == "intact"


@pytest.fixture
def guarded(studio: Studio, home: Path) -> Studio:
    (home / "protected").mkdir()
    as_known(3).save(home / "protected" / "acme.png")
    return studio


def with_mark() -> bytes:
    out = io.BytesIO()
    Image.fromarray(place(scene(3), 3, 3)[0]).save(out, "PNG")
    return out.getvalue()


def test_a_protected_mark_in_a_file_is_told_by_the_api_and_the_command_line(
    guarded: Studio, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from studio.cli.check import check

    with TestClient(web(guarded), base_url="http://127.0.0.1") as client:
        (found,) = client.post("/api/v1/check", files={"file": ("a.png", with_mark())}).json()
        assert found["findings"][0]["match"] == "acme" and found["done"] == "flag"
        assert client.post("/api/v1/check", files={"file": ("a.png", b"GIF89a")}).status_code == 422
    (home / "a.png").write_bytes(with_mark())
    monkeypatch.setenv("STUDIO_HOME", str(home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    with pytest.raises(typer.Exit):
        check([home / "a.png"], as_json=True)
    assert json.loads(capsys.readouterr().out)["checks"][0]["findings"][0]["match"] == "acme"


def test_what_the_checks_did_to_a_made_picture_is_kept_with_it(
    guarded: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The executor paints a protected mark, as a model might."""
    run = guarded.executor.run

    def painting(*asked: Any, **more: Any) -> Iterator[Event]:
        for event in run(*asked, **more):
            yield replace(event, data=with_mark()) if isinstance(event, Rendered) else event

    monkeypatch.setattr(guarded.executor, "run", painting)
    id = made(guarded)
    (check,) = guarded.checks_of(id)
    assert (check["looked_for"], check["done"], check["findings"][0]["match"]) == (1, "flag", "acme")
    with TestClient(web(guarded), base_url="http://127.0.0.1") as client:
        assert client.get(f"/api/v1/images/{id}").json()["checks"] == [check]
        assert client.get(f"/api/v1/images/{id}/receipt").json()["checks"] == [check]


def test_a_made_picture_without_a_mark_says_that_it_was_checked(guarded: Studio) -> None:
    assert guarded.checks_of(made(guarded)) == [
        {"check": "protected", "looked_for": 1, "findings": [], "done": ""}
    ]
