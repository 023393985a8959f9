"""Review: a designer shares pictures, a client answers by phone through a tunnel, the designer hears it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from folders import make_model
from playwright.sync_api import Browser, expect
from ssh_server import serving
from walk import Visit, generate, open_tab

from studio.settings import ROOT


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio that knows an SSH server, which is on this machine too."""
    home, keys = tmp_path_factory.mktemp("review-home"), tmp_path_factory.mktemp("ssh")
    make_model(home / "models" / "pocket")
    command = [sys.executable, str(Path(__file__).with_name("serve.py")), str(home), "0.02"]
    with serving(keys) as server:
        known = {
            "STUDIO_REVIEW_SSH": f"client@127.0.0.1:{server.port}", "STUDIO_REVIEW_SSH_PORT": "0",
            "STUDIO_REVIEW_SSH_KEY": str(server.key), "STUDIO_REVIEW_KNOWN_HOSTS": str(server.known_hosts),
            "STUDIO_REVIEW_PORT": "0", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | known) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            until = time.monotonic() + 240
            while httpx.get(f"{address}/readyz").status_code != 200:
                assert process.poll() is None and time.monotonic() < until
                time.sleep(0.1)
            yield address
            process.terminate()


def test_a_designer_shares_and_hears_what_the_client_says(
    visit: Visit, browser: Browser, address: str
) -> None:
    page = visit(at=address)
    open_tab(page, "review")
    expect(page.locator("#review-go")).to_be_disabled()  # nothing is chosen yet
    open_tab(page, "create")
    first = generate(page, "a violet lantern on a grey background")
    second = generate(page, "a violet teapot on a grey background")
    open_tab(page, "library")
    for id in (first, second):
        page.locator(f"#library-shelf .held:has([data-id='{id}'])").hover()
        page.click(f"#library-shelf .pick[data-id='{id}']")
        held = page.locator(f"#library-shelf .pick[data-id='{id}']")
        expect(held).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#library-choosing")).to_contain_text("Chosen: 2")
    page.click("#library-choosing [data-act=share]")
    expect(page.locator("#review-tray .held")).to_have_count(2)
    expect(page.locator("#review-promise")).to_contain_text("sees 2 pictures")
    expect(page.locator("#review-promise")).to_contain_text("Not to be seen: prompts")
    expect(page.locator("#review-go")).to_be_enabled()
    page.fill("#review-title input", "Lantern round")
    page.click("#review-more button.label-wrap")
    page.get_by_label("Internet, through your SSH server").check()
    expect(page.locator("#review-promise")).to_contain_text("Reachable from the internet")
    page.click("#review-go")
    card = page.locator("#review-links .link-card").first
    expect(card).to_contain_text("Lantern round", timeout=60_000)
    expect(page.locator("#review-tray .held")).to_have_count(0)
    expect(page.locator("#review-detail .code img")).to_be_visible()
    expect(card.locator(".tunnel")).to_have_text("Tunnel open", timeout=60_000)
    url = card.locator(".address").input_value()

    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    client = phone.new_page()
    client.goto(url)
    expect(client.locator("h1")).to_have_text("Lantern round")
    client.fill("#name", "Client Ann")
    client.click("form.name button")
    client.locator("article").first.locator(".verdict .yes").click()
    expect(client.locator("article").first.locator(".names.yes")).to_contain_text("Client Ann")

    expect(page.locator("#review-detail .trail")).to_contain_text("Client Ann approved")
    expect(page.locator(".news")).to_contain_text("Client Ann")
    open_tab(page, "library")
    expect(page.locator(f"#library-shelf .held:has([data-id='{first}']) .verdict.approved")).to_be_visible()
    page.click("#library-filter input")
    page.get_by_role("option", name="approved").click()
    expect(page.locator("#library-shelf .thumb")).to_have_count(1)
    page.click("#library-filter input")
    page.get_by_role("option", name="all").click()
    open_tab(page, "review")
    page.locator(".link-card:has-text('Lantern round') [data-act=revoke]").click()
    expect(page.locator("#review-links details")).to_contain_text("Lantern round")
    phone.close()
    until = time.monotonic() + 30
    with pytest.raises(httpx.TransportError):  # the tunnel closes with its last link
        while time.monotonic() < until:
            assert httpx.get(url).status_code in (404, 421)
            time.sleep(0.05)
