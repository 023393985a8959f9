"""The page behind the login, in a real browser: whoever signed in sees and makes their own pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import generated
from folders import make_model
from gradio_client.exceptions import AuthenticationError
from playwright.sync_api import Browser, Page, expect
from walk import open_tab, settled

from studio.accounts import Accounts
from studio.library import Database

WORD = "correct horse battery"


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    """By the name of who owns them; `guarded` fills it."""
    return {}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, serve: Any, keys: dict[str, str]) -> Iterator[str]:
    home = tmp_path_factory.mktemp("users")
    make_model(home / "models" / "pocket")
    with closing(Database(home / "studio.db")) as database:
        for name in ("anna", "berta"):
            Accounts(database).add_user(name, WORD)
            keys[name] = Accounts(database).add_key(name, ["read", "generate"], name)[1]
    with serve(home, 0.01) as address:
        yield address


def sign_in(browser: Browser, address: str, name: str) -> Page:
    page = browser.new_context(locale="en-US").new_page()
    page.goto(address + "/")
    expect(page).to_have_url(re.compile("/login"))
    page.keyboard.type(name)  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    settled(page)
    return page


def test_two_users_each_see_their_own(browser: Browser, guarded: str) -> None:
    anna, berta = (sign_in(browser, guarded, name) for name in ("anna", "berta"))
    try:
        anna.fill("#create-prompt textarea", "annas mug")
        anna.click("#create-generate")
        expect(anna.locator("section.stage img").first).to_be_visible()
        open_tab(anna, "library")
        expect(anna.locator("#library-shelf img")).to_have_count(1)
        open_tab(berta, "library")
        expect(berta.locator("#library-shelf")).not_to_contain_text("annas")
        expect(berta.locator("#library-shelf img")).to_have_count(0)
        anna.click("[data-sign-out] button")
        expect(anna).to_have_url(re.compile("/login"))
        anna.goto(guarded + "/")
        expect(anna).to_have_url(re.compile("/login"))
    finally:
        anna.context.close()
        berta.context.close()


def test_gradios_client_needs_a_key_and_fetches_its_owners_pictures_alone(
    guarded: str, keys: dict[str, str], tmp_path: Path
) -> None:
    heads = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    with pytest.raises(AuthenticationError):
        generated(guarded, tmp_path, prompt="a mug")
    [row] = generated(guarded, tmp_path, heads["anna"], prompt="a mug", steps=2)
    file = f"{guarded}/gradio_api/stream/{row['id']}.png"
    answers = [httpx.get(file, headers=head).status_code for head in (heads["anna"], heads["berta"], {})]
    assert answers == [200, 404, 401]
