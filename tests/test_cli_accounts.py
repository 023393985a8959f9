"""`studio users` and `studio keys` as a person and as a program call them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.accounts import Accounts
from studio.cli.app import app
from studio.errors import BadRequest, NotFound
from studio.library import Database

WORD = "correct horse battery"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path))
    return tmp_path


def call(*words: str, said: str = "") -> str:
    done = CliRunner().invoke(app, words, input=said, catch_exceptions=False)
    return done.stdout


def test_a_user_is_added_listed_renewed_and_removed(home: Path) -> None:
    assert json.loads(call("users", "add", "anna", "--json", said=WORD + "\n"))[0]["name"] == "anna"
    call("users", "add", "chief", "--admin", said=WORD)
    assert [(row["name"], row["admin"]) for row in json.loads(call("users", "list", "--json"))] == [
        ("anna", False), ("chief", True),
    ]  # fmt: skip
    call("users", "password", "anna", said="another good word\n")
    with closing(Database(home / "studio.db")) as database:
        assert Accounts(database).sign_in("anna", "another good word")
    call("users", "remove", "anna")
    assert "anna" not in call("users")
    with pytest.raises(NotFound):
        call("users", "remove", "anna")
    with pytest.raises(BadRequest, match="has 0 characters"):
        call("users", "add", "berta")


def test_a_key_is_shown_once_listed_and_revoked(home: Path) -> None:
    key = call("keys", "add", "ci").strip()
    made = json.loads(call("keys", "add", "render farm", "--scope", "generate", "--json"))
    assert made["scopes"] == ["generate"] and made["key"].startswith("bsk_")
    shown = call("keys", "list", "--json")
    assert [row["scopes"] for row in json.loads(shown)] == [["read", "generate"], ["generate"]]
    assert key not in shown and made["key"] not in shown
    with closing(Database(home / "studio.db")) as database:
        assert Accounts(database).of_key(key) is not None
        call("keys", "revoke", "ci")
        assert Accounts(database).of_key(key) is None
    with pytest.raises(BadRequest):
        call("keys", "add", "x", "--scope", "all")
