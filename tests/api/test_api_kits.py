"""Brand files and kits over REST and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from folders import make_lora
from starlette.testclient import TestClient
from typer.testing import CliRunner

from studio.api.app import web
from studio.cli.app import app
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio

BRAND = "version: 1\nname: acme\nloras: [{name: acme, weight: 0.8}]\n"
AT = "/api/v1/presets/acme"


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    make_lora(home / "loras" / "acme.safetensors")
    studio = Studio.open(Settings(home=home), FakeExecutor())
    with closing(studio), TestClient(web(studio), base_url="http://localhost") as client:
        yield client


def test_a_brand_is_saved_read_changed_and_deleted(client: TestClient) -> None:
    assert client.put(AT, json={"text": BRAND}).json()["name"] == "acme"
    source = client.get(f"{AT}/source").json()
    assert source["text"] == BRAND and source["own"]
    changed = {"text": BRAND + "steps: 9\n", "base": source["base"]}
    assert client.put(AT, json=changed).status_code == 200
    late = client.put(AT, json=changed | {"text": BRAND})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "preset_changed")
    assert [row["number"] for row in client.get(f"{AT}/versions").json()] == [2, 1]
    assert client.get(f"{AT}/versions/1").json()["text"] == BRAND
    assert client.delete(AT).status_code == 204
    assert client.get(f"{AT}/source").status_code == 404


def test_a_mistake_comes_back_with_its_place(client: TestClient) -> None:
    answer = client.put(AT, json={"text": "version: 1\nname: acme\nsteps: x\n"})
    assert answer.status_code == 422 and "Line 3, column 8" in answer.json()["error"]["message"]
    assert client.delete("/api/v1/presets/plain").json()["error"]["code"] == "preset_builtin"


def test_a_kit_goes_out_and_comes_back(client: TestClient) -> None:
    client.put(AT, json={"text": BRAND})
    kit = client.get(f"{AT}/kit")
    assert "acme.brandkit" in kit.headers["content-disposition"]
    client.put(AT, json={"text": BRAND + "steps: 9\n"})
    sent = client.post("/api/v1/kits", params={"filename": "a.brandkit"}, files={"file": kit.content})
    assert sent.status_code == 201 and sent.json()[0]["name"] == "acme-2" and sent.json()[0]["signer"]["ours"]
    broken = client.post("/api/v1/kits", params={"filename": "a.brandkit"}, files={"file": kit.content[:-40]})
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "bad_kit")


def test_the_command_line_hands_kits_on(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOME", str(home))
    file = tmp_path / "n.brandkit"
    told = CliRunner().invoke(app, ["kits", "export", "nordic", str(file)])
    assert told.exit_code == 0, told.output
    rows = json.loads(CliRunner().invoke(app, ["kits", "import", str(file), "--json"]).stdout)
    assert rows[0]["name"] == "nordic" and rows[0]["loras"] == ["nordic"]
