"""Signing in: who has to, how, what each door asks for. Without the wall the same requests get through."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from routes_of_page import bare
from serving import STEP, make_model, refused, served

from studio.accounts import attempts
from studio.api import gates, sign_in
from studio.api.app import unwalled, web
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio

WORD = "correct horse battery"
FORM = {"content-type": "application/x-www-form-urlencoded"}
BROWSER = {"accept": "text/html,application/xhtml+xml", "accept-language": "en-GB,en"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with users: nobody gets far without saying who they are."""
    home = tmp_path_factory.mktemp("guarded")
    make_model(home / "models" / "pocket")
    settings = Settings(home=home, port=0, host="127.0.0.1", rows=2)
    with closing(Studio.open(settings, FakeExecutor(STEP))) as studio:
        for name in ("anna", "berta"):
            studio.accounts.add_user(name, WORD)
        studio.accounts.add_user("chief", WORD, admin=True)
        studio.start()
        yield studio


@pytest.fixture(scope="module")
def guarded(house: Studio) -> Iterator[str]:
    with served(web(house), house.settings) as address:
        yield address


@pytest.fixture
def stranger(guarded: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tests sign in wrongly from one address; the limit has tests of its own."""
    monkeypatch.setattr(attempts, "PER_SOURCE", 10_000)
    monkeypatch.setattr(attempts, "PER_USER", 10_000)


@pytest.fixture
def enter(guarded: str) -> Iterator[Callable[[str], httpx.Client]]:
    opened: list[httpx.Client] = []

    def go(name: str) -> httpx.Client:
        client = httpx.Client(base_url=guarded, timeout=30)
        opened.append(client)
        answer = client.post("/login", data={"name": name, "password": WORD})
        assert answer.status_code == 303, answer.text
        return client

    yield go
    for client in opened:
        client.close()


def test_a_stranger_gets_no_further_than_the_door(stranger: httpx.Client, house: Studio) -> None:
    """Every named address, not some: a new one that is open must say so in gates.py."""
    for gate in gates.gates():
        for method in gate.methods:
            path = bare(gate.address).replace("{:path}", "x").replace("{}", "x")
            answer = stranger.request(method, path, json={} if method == "POST" else None)
            if gate.need == "open":
                assert answer.status_code in (200, 303, 401, 405, 503), (method, path, answer.status_code)
            elif method == "HEAD":
                assert answer.status_code == 401
            else:
                refused(answer, 401, "sign_in_needed")
    assert stranger.get("/api/v1/nope").status_code == 401  # nor learns what there is
    assert {gate.address for gate in gates.gates() if gate.need == "open"} == {
        "/livez", "/readyz", "/login", "/logout",
    }  # fmt: skip
    with served(unwalled(house), house.settings) as address:
        assert httpx.get(f"{address}/api/v1/jobs").status_code == 200


def test_a_visitor_is_shown_the_way_in(stranger: httpx.Client) -> None:
    answer = stranger.get("/zh/", headers=BROWSER)
    assert answer.status_code == 303 and answer.headers["location"] == "/login?next=/zh/"
    page = stranger.get("/login?next=/zh/", headers=BROWSER)
    assert page.status_code == 200 and "登录" in page.text and 'value="/zh/"' in page.text
    page = stranger.get("/login", headers=BROWSER)
    assert "Sign in" in page.text and "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text


def test_a_user_signs_in_and_out(enter: Callable[[str], httpx.Client]) -> None:
    anna = enter("Anna")
    assert anna.get("/api/v1/me").json() == {
        "name": "anna", "scopes": ["read", "generate"], "signed_in": True,
    }  # fmt: skip
    token = anna.cookies[sign_in.COOKIE]
    assert anna.post("/logout", headers=FORM).headers["location"] == "/login"
    again = {"cookie": f"{sign_in.COOKIE}={token}"}
    assert anna.get("/api/v1/me", headers=again).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(stranger: httpx.Client) -> None:
    for origin, secure in ((None, False), ("same", False)):
        headers = {"origin": str(stranger.base_url).rstrip("/")} if origin else {}
        answer = stranger.post("/login", data={"name": "anna", "password": WORD}, headers=headers)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
        assert ("secure" in cookie) is secure and "domain" not in cookie


def test_behind_a_proxy_with_https_the_cookie_never_goes_without(house: Studio) -> None:
    settings = house.settings.model_copy(update={"allowed_hosts": ("studio.lan",)})
    house_settings, house.settings = house.settings, settings
    try:
        with served(web(house), settings) as address:
            own = {"host": "studio.lan", "origin": "https://studio.lan"}
            answer = httpx.post(f"{address}/login", data={"name": "anna", "password": WORD}, headers=own)
            assert "secure" in answer.headers["set-cookie"].lower()
    finally:
        house.settings = house_settings


@pytest.mark.parametrize(
    "target", ["//evil.com", "////evil.com", "\\\\evil.com", "https://evil.com", "/nope", "/\r\nx: y"]
)
def test_signing_in_never_leads_elsewhere(stranger: httpx.Client, target: str) -> None:
    answer = stranger.post("/login", data={"name": "anna", "password": WORD, "next": target})
    assert answer.status_code == 303 and answer.headers["location"] == "/"


def test_a_wrong_password_and_an_unknown_user_look_the_same(stranger: httpx.Client) -> None:
    answers = [
        stranger.post("/login", data={"name": name, "password": password}, headers=BROWSER)
        for name, password in (
            ("anna", "wrong"),
            ("zelda", WORD),
            ("anna", ""),
            ("", ""),
            ("anna", "x" * 3000),
        )
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    texts = {answer.text.replace('value="anna"', "").replace('value="zelda"', "") for answer in answers[:2]}
    assert len(texts) == 1 and "is wrong" in texts.pop()
    refused(stranger.post("/login", json={"name": "anna", "password": "wrong"}), 401, "wrong_password")


def test_a_name_is_shown_as_text(stranger: httpx.Client) -> None:
    answer = stranger.post("/login", data={"name": '"><script>alert(1)</script>', "password": "x"})
    assert "<script" not in answer.text and "&lt;script" in answer.text


def test_another_sites_form_signs_nobody_in(stranger: httpx.Client) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        refused(stranger.post("/login", data={"name": "anna", "password": WORD}, headers=headers), 403)


def test_a_form_is_taken_at_the_door_only_and_small(enter: Callable[[str], httpx.Client]) -> None:
    anna = enter("anna")
    refused(anna.post("/api/v1/jobs", data={"prompt": "a"}), 415, "unsupported_media")
    refused(anna.post("/login", data={"name": "x" * 5000}), 413, "too_large")


def test_the_sixth_wrong_try_waits(
    stranger: httpx.Client, monkeypatch: pytest.MonkeyPatch, house: Studio
) -> None:
    with served(web(house), house.settings) as address, httpx.Client(base_url=address) as client:
        monkeypatch.setattr(attempts, "PER_SOURCE", 5)
        statuses = [
            client.post("/login", data={"name": f"user{n}", "password": "wrong"}).status_code
            for n in range(8)
        ]
        assert statuses == [401] * 5 + [429] * 3
        answer = client.post("/login", data={"name": "anna", "password": WORD}, headers=BROWSER)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
        assert "Too many attempts" in answer.text
        refused(client.post("/login", json={"name": "anna"}), 429, "too_many_attempts")


@pytest.mark.parametrize(
    ("proxies", "statuses"), [((), [401, 429, 429]), (("127.0.0.0/8",), [401, 429, 401])]
)
def test_behind_a_trusted_proxy_tries_count_for_the_client(
    house: Studio, monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], statuses: list[int]
) -> None:
    settings = house.settings.model_copy(update={"trusted_proxies": proxies})
    monkeypatch.setattr(attempts, "PER_SOURCE", 1)
    with served(web(house), settings) as address, httpx.Client(base_url=address) as client:
        tries = [
            # what a client writes into the header itself stands left of what the proxy adds
            client.post(
                "/login", data={"name": f"{source} {proxies}", "password": "wrong"},
                headers={"x-forwarded-for": f"198.51.100.{n}, {source}"},
            ).status_code
            for n, source in enumerate(("203.0.113.7", "203.0.113.7", "203.0.113.8"))
        ]  # fmt: skip
    assert tries == statuses


def test_a_key_may_what_its_scopes_say(stranger: httpx.Client, house: Studio) -> None:
    made = {
        scope: house.accounts.add_key(f"only {scope}", [scope], "anna")[1] for scope in ("read", "generate")
    }
    asked = {"prompt": "a red mug", "steps": 1}

    def call(key: str, method: str, path: str, **more: Any) -> httpx.Response:
        return stranger.request(method, path, headers={"authorization": f"Bearer {key}"}, **more)

    assert call(made["read"], "GET", "/api/v1/jobs").status_code == 200
    refused(call(made["read"], "POST", "/api/v1/jobs", json=asked), 403, "scope_missing")
    assert call(made["generate"], "POST", "/api/v1/jobs", json=asked).status_code == 202
    refused(call(made["generate"], "GET", "/api/v1/jobs"), 403, "scope_missing")
    refused(call("bsk_000000000000_" + "x" * 43, "GET", "/api/v1/jobs"), 401, "wrong_key")
    refused(call("sk-dummy", "GET", "/api/v1/jobs"), 401, "wrong_key")


def test_a_key_comes_in_three_forms(stranger: httpx.Client, house: Studio) -> None:
    _, key = house.accounts.add_key("forms", ["read"], "anna")
    basic = base64.b64encode(f"anybody:{key}".encode()).decode()
    for headers in (
        {"authorization": f"bearer {key}"},
        {"authorization": f"Basic {basic}"},
        {"x-api-key": key},
    ):
        assert stranger.get("/api/v1/me", headers=headers).json()["name"] == "anna"
    refused(stranger.get("/api/v1/me", headers={"authorization": "Basic =="}), 401)


def test_a_revoked_key_opens_nothing(
    stranger: httpx.Client, house: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, key = house.accounts.add_key("soon gone", ["read"], "anna")
    headers = {"authorization": f"Bearer {key}"}
    assert stranger.get("/api/v1/me", headers=headers).status_code == 200
    house.accounts.revoke_key(row.id)
    monkeypatch.setattr(sign_in, "FRESH", 0.0)  # what the database said a second ago counts no longer
    refused(stranger.get("/api/v1/me", headers=headers), 401, "wrong_key")


def test_a_refusal_never_asks_the_browser_for_a_password(stranger: httpx.Client) -> None:
    """A browser would keep what it was told and send it along with another site's requests."""
    assert stranger.get("/api/v1/jobs").headers["www-authenticate"] == "Bearer"


def test_on_this_machine_without_users_nobody_signs_in(client: httpx.Client, studio: Studio) -> None:
    assert client.get("/api/v1/me").json()["signed_in"] is False
    dummy = {"authorization": "Bearer none"}  # OpenAI's client always sends one
    assert client.get("/api/v1/jobs", headers=dummy).status_code == 200
    gone = {"authorization": f"Bearer bsk_000000000000_{'x' * 43}"}
    refused(client.get("/api/v1/jobs", headers=gone), 401, "wrong_key")
    assert client.get("/login", headers=BROWSER).status_code == 200


def test_an_address_that_others_reach_asks_even_where_only_keys_are(tmp_path: Path) -> None:
    make_model(tmp_path / "models" / "pocket")
    lan = Settings(home=tmp_path, port=0, host="127.0.0.1", allowed_hosts=("studio.lan",))
    with closing(Studio.open(lan, FakeExecutor(STEP))) as studio:
        _, key = studio.accounts.add_key("ci", ["read"])
        studio.settings = lan.model_copy(update={"host": "192.0.2.1"})
        with served(web(studio), lan) as address:
            own = {"host": "studio.lan"}
            refused(httpx.get(f"{address}/api/v1/jobs", headers=own), 401, "sign_in_needed")
            keyed = own | {"authorization": f"Bearer {key}"}
            assert httpx.get(f"{address}/api/v1/jobs", headers=keyed).json() == []
