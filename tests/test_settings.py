"""Settings come from the environment; the prefixed name wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.settings import Settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "STUDIO_HOST", "STUDIO_PORT", "STUDIO_ALLOWED_HOSTS", "STUDIO_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_hosting_tools_may_set_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "8080")
    assert (Settings().host, Settings().port) == ("0.0.0.0", 8080)


def test_the_prefixed_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    monkeypatch.setenv("STUDIO_PORT", "9090")
    assert Settings().port == 9090
    assert Settings(port=1).port == 1


def test_allowed_hosts_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ALLOWED_HOSTS", "a.lan, b.lan,")
    assert Settings().allowed_hosts == ("a.lan", "b.lan")
    assert Settings(allowed_hosts=("c.lan",)).allowed_hosts == ("c.lan",)


def test_home_holds_what_people_add(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.models_dirs[0] == tmp_path / "models"
    assert settings.loras_dirs[0] == tmp_path / "loras"


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(port=70_000)
