"""Sharing through the doors: API and command line, against a running studio; the client looks at the link."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image
from serving import refused
from typer.testing import CliRunner

from studio.cli.app import app
from studio.studio import Studio

AT = "/api/v1/review/links"
Finished = Callable[..., dict[str, Any]]


def shared(client: httpx.Client, images: list[str], **asked: Any) -> dict[str, Any]:
    answer = client.post(AT, json={"images": images, **asked})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_link_is_made_seen_extended_and_revoked(client: httpx.Client, finished: Finished) -> None:
    images = [image["id"] for image in finished(count=2)["images"]]
    link = shared(client, images, title="Round 1", expires="1h", preset="guochao")
    assert link["state"] == "live" and link["images"] == images and link["viewers"] == 0
    with httpx.Client(timeout=20) as visitor:
        page = visitor.get(link["url"])
        assert page.status_code == 200 and "Round 1" in page.text and "Guochao" in page.text
        assert images[0] not in page.text and "a red mug" not in page.text
        code = client.get(f"{AT}/{link['id']}/qr")
        assert Image.open(io.BytesIO(code.content)).format == "PNG"
        longer = client.post(f"{AT}/{link['id']}/extend", json={"expires": "2d"}).json()
        assert longer["expires"] > link["expires"] and longer["viewers"] == 1 and longer["last_visit"]
        assert client.delete(f"{AT}/{link['id']}").json()["state"] == "revoked"
        assert visitor.get(link["url"]).status_code == 404
    refused(client.post(f"{AT}/{link['id']}/extend", json={"expires": "2d"}), 409)
    refused(client.get(f"{AT}/{link['id']}/qr"), 409)
    assert [line["kind"] for line in client.get(f"{AT}/{link['id']}/trail").json()] == [
        "shared", "opened", "extended", "revoked",
    ]  # fmt: skip
    assert link["id"] in [row["id"] for row in client.get(AT).json()]


def test_feedback_is_news_for_the_studio(client: httpx.Client, finished: Finished, studio: Studio) -> None:
    image = finished()["images"][0]["id"]
    link = shared(client, [image])
    last = client.get("/api/v1/review/feedback").json()[-1]["number"]
    with httpx.Client(timeout=20) as visitor:
        page = visitor.get(link["url"]).text
        piece = page.split('data-picture="')[1].split('"')[0]
        visitor.post(f"{link['url']}/name", data={"name": "Bo"})
        visitor.post(f"{link['url']}/say/{piece}", data={"verdict": "approved"})
    news = client.get("/api/v1/review/feedback", params={"after": last}).json()
    assert [(line["kind"], line["name"]) for line in news][-1] == ("approved", "Bo")
    assert news[-1]["image"] == image
    assert studio.review.verdicts()[image].state == "approved"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"images": []}, "images"), ({}, "images"), ({"expires": "31d"}, "expires"),
        ({"expires": 0}, "expires"),
        ({"expires": "soon"}, "expires"), ({"pin": "123"}, "pin"), ({"views": 0}, "views"),
        ({"download": "all"}, "download"), ({"tunnel": "ngrok"}, "tunnel"), ({"titel": "x"}, "titel"),
        ({"title": "x" * 121}, "title"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_told_by_field(client: httpx.Client, asked: dict[str, Any], field: str) -> None:
    body = asked if asked in ({}, {"images": []}) else {"images": ["0" * 32], **asked}
    assert str(refused(client.post(AT, json=body), 422)["field"]).startswith(field)


def test_what_is_not_there_is_404(client: httpx.Client, finished: Finished) -> None:
    refused(client.post(AT, json={"images": ["0" * 32]}), 404, "image_not_found")
    image = finished()["images"][0]["id"]
    refused(client.post(AT, json={"images": [image], "preset": "nope"}), 404)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/qr"), ("GET", "/package"), ("GET", "/trail")):
        refused(client.request(method, f"{AT}/0123456789abcdef{path}"), 404, "link_not_found")


def test_the_offline_package_goes_out_and_its_file_comes_back(
    client: httpx.Client, finished: Finished
) -> None:
    link = shared(client, [finished()["images"][0]["id"]], download="copy")
    answer = client.get(f"{AT}/{link['id']}/package", params={"language": "zh"})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["review.html", "picture-1-1.png"]
        assert "请您审阅" in archive.read("review.html").decode()
    refused(client.post("/api/v1/review/feedback", json={"format": "x"}), 422)


def test_the_command_line_shares_with_the_running_studio(
    studio: Studio, client: httpx.Client, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(studio.settings.home))
    run = CliRunner()
    image = finished()["images"][0]["id"]
    made = run.invoke(app, ["review", "share", image, "--expires", "1h", "--pin", "4711-abc", "--json"])
    assert made.exit_code == 0, made.output
    link = json.loads(made.stdout)
    assert set(link) == {"url", "id", "expires"}
    assert httpx.post(link["url"], data={"pin": "4711-abc"}).status_code == 303
    rows = json.loads(run.invoke(app, ["review", "list", "--json"]).stdout)
    assert [row for row in rows if row["id"] == link["id"]][0]["viewers"] == 1
    assert run.invoke(app, ["review", "extend", link["id"], "3d"]).exit_code == 0
    assert "approved" not in run.invoke(app, ["review", "trail", link["id"]]).stdout
    assert run.invoke(app, ["review", "revoke", link["id"]]).exit_code == 0
    assert httpx.get(link["url"]).status_code == 404
