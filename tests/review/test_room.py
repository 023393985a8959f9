"""The room as clients and strangers reach it: its own process, real requests."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from rooms import SECRET, Rooms, chosen, chunks, facts, ids_of, introduced, picture

from studio.errors import Conflict
from studio.review.links import ShareRequest

STUDIO_PATHS = (
    "/", "/zh", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/generate", "/config",
    "/gradio_api/info", "/gradio_api/queue/join", "/gradio_api/upload", "/theme.css", "/login",
    "/api/v1/jobs", "/api/v1/images", "/api/v1/images/{id}/file", "/api/v1/uploads", "/api/v1/models",
    "/api/v1/review/links", "/sdapi/v1/txt2img", "/sdapi/v1/options", "/v1/images/generations",
    "/r", "/r/", "/favicon.ico", "/robots.txt", "/static/x", "/..%2f..%2fetc/passwd", "/file=/etc/passwd",
)  # fmt: skip


def test_a_link_shows_the_chosen_pictures_and_its_words(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(title="Launch <b>", note="First round\nsecond line")
    page = client.get(link.url)
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Launch &lt;b&gt;" in page.text and "second line" in page.text and "Guochao" in page.text
    ids = ids_of(page)
    assert len(ids) == 2 and not set(ids) & set(link.images)
    shown = client.get(f"{link.url}/picture/{ids[0]}")
    assert shown.headers["content-type"] == "image/png" and chunks(shown.content) == {"IHDR", "IDAT", "IEND"}


def test_nothing_of_the_source_is_in_page_pictures_or_folder(rooms: Rooms, client: httpx.Client) -> None:
    for kind, size in (("PNG", (160, 120)), ("JPEG", (900, 700)), ("WEBP", (900, 700))):
        data = picture(3, size, kind)
        assert SECRET.encode() in data
        request = ShareRequest(images=("a" * 32,), download="copy")
        rooms.shelf["a" * 32] = data
        link = rooms.review.share(request, [chosen(size=size)], {})
        (id,) = ids_of(client.get(link.url))
        answers = [client.get(f"{link.url}{path}") for path in ("", f"/picture/{id}", f"/copy/{id}")]
        assert chunks(answers[2].content) == {"IHDR", "IDAT", "IEND"}
        for answer in answers:
            assert answer.status_code == 200
            for secret in (SECRET, "4711", "designer", "a" * 32, "pocket"):
                assert secret.encode() not in answer.content
            assert "studio" not in (answer.text if answer is answers[0] else "").lower()
            assert "studio" not in str(answer.headers).lower()


def test_pictures_that_are_still_being_copied_are_left_out_and_told(
    rooms: Rooms, client: httpx.Client
) -> None:
    link = rooms.share(3)
    store = rooms.review.links.store
    (store.pictures / store.copies(link.id)[0].shown).unlink()
    page = client.get(link.url)
    assert len(ids_of(page)) == 2 and "Being prepared: 1" in page.text
    assert rooms.review.get(link.id).prepared == 2
    with pytest.raises(Conflict, match="2 of 3 pictures"):
        rooms.review.package(link.id)


def test_wrong_expired_revoked_and_full_are_the_same_404(rooms: Rooms, client: httpx.Client) -> None:
    link, full = rooms.share(), rooms.share(views=1)
    short = rooms.share(expires=1)
    revoked = rooms.share()
    assert httpx.get(full.url).status_code == 200
    rooms.review.revoke(revoked.id)
    time.sleep(max(0.0, short.expires - time.time()) + 0.05)
    base, token = link.url.rsplit("/", 1)
    off = token[:-1] + chr(ord(token[-1]) ^ 1)
    urls = [f"{base}/{off}", f"{base}/{'x' * 32}", short.url, revoked.url, full.url, f"{base}/no/such/thing"]
    known = {str(facts(client.get(url))) for url in urls}
    assert len(known) == 1 and "(404," in known.pop()
    for path in ("/compare", "/picture/x", "/copy/x", "/room.css", "/room.js"):
        dead = {str(facts(client.get(url + path))) for url in (short.url, revoked.url, f"{base}/{off}")}
        assert len(dead) == 1
    nothing = facts(client.get(f"{base}/{off}"))
    for path in ("/name", "/pin", f"/say/{'0' * 24}", ""):
        assert facts(client.post(revoked.url + path, data={"name": "x"})) == nothing


def test_revocation_works_within_a_second_and_erases_the_copies(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(download="copy")
    (id, *_) = introduced(client, link.url)
    files = [
        rooms.review.links.store.pictures / str(copy.whole)
        for copy in rooms.review.links.store.copies(link.id)
    ]
    assert all(file.exists() for file in files)
    rooms.review.revoke(link.id)
    until = time.monotonic() + 1
    for path in ("", f"/picture/{id}", f"/copy/{id}", "/compare", "/room.css"):
        assert client.get(link.url + path).status_code == 404
    assert time.monotonic() < until
    assert not any(file.exists() for file in files)
    assert rooms.review.get(link.id).state == "revoked" and rooms.review.get(link.id).url == ""


def test_every_studio_path_and_method_is_the_same_404(rooms: Rooms, client: httpx.Client) -> None:
    base = rooms.share().url.rsplit("/r/", 1)[0]
    nothing = facts(client.get(f"{base}/r/{'x' * 32}"))
    for path in STUDIO_PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = client.request(method, base + path.format(id="0" * 32))
            assert facts(answer) == nothing, (method, path)


def test_a_link_opens_only_its_own_pictures(rooms: Rooms, client: httpx.Client) -> None:
    mine, other = rooms.share(), rooms.share(download="copy")
    foreign = ids_of(client.get(other.url))[0]
    for id in (foreign, *other.images, "..%2froom.db", "%00"):
        for verb in ("picture", "copy"):
            assert client.get(f"{mine.url}/{verb}/{id}").status_code == 404
    own = introduced(client, mine.url)
    assert client.post(f"{mine.url}/say/{foreign}", data={"verdict": "approved"}).status_code == 404
    assert client.get(f"{mine.url}/copy/{own[0]}").status_code == 404  # download: none


def test_a_foreign_host_gets_421_and_a_foreign_page_nothing(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    for host in ("evil.example", "evil.example:7870", "127.0.0.1@evil.example", "[::1"):
        for method in ("GET", "POST", "DELETE"):
            assert client.request(method, link.url, headers={"host": host}).status_code == 421
    ids = introduced(client, link.url)
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = client.post(f"{link.url}/say/{ids[0]}", data={"verdict": "approved"}, headers=headers)
        assert answer.status_code == 404
    assert not [line for line in rooms.review.trail(link.id) if line.kind == "approved"]


def test_ten_thousand_guesses_are_throttled_and_the_client_is_not(rooms: Rooms, client: httpx.Client) -> None:
    link, began = rooms.share(), time.monotonic()
    base = link.url.rsplit("/", 1)[0]
    seen = guess(link.url, [f"{index:032x}" for index in range(10_000)])
    assert set(seen) == {404, 429} and seen.total() == 10_000
    assert seen[404] <= 150 + (time.monotonic() - began)  # 100 at once, then one a second
    assert client.get(link.url).status_code == 200  # though it comes from the same address
    further = [client.get(f"{base}/{'x' * 32}") for _ in range(5)]  # one a second may pass
    assert [answer.headers["retry-after"] for answer in further if answer.status_code == 429]


def guess(url: str, tokens: list[str], at_once: int = 200) -> Counter[int]:
    """Statuses, asked over one connection as fast as it goes."""
    place = urlsplit(url)
    seen: Counter[int] = Counter()
    with socket.create_connection((str(place.hostname), place.port or 80)) as wire:
        for start in range(0, len(tokens), at_once):
            some = tokens[start : start + at_once]
            lines = [f"GET /r/{token} HTTP/1.1\r\nhost: {place.netloc}\r\n\r\n" for token in some]
            wire.sendall("".join(lines).encode())
            answered = b""
            while answered.count(b"</html>\n") < len(some):
                more = wire.recv(2**16)
                assert more, answered[-200:]
                answered += more
            seen.update(int(status) for status in re.findall(rb"HTTP/1.1 (\d{3})", answered))
    return seen


def test_a_pin_is_asked_for_hashed_and_throttled(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(pin="spring-26", title="Secret title")
    door = client.get(link.url)
    assert door.status_code == 200 and "Secret title" not in door.text and not ids_of(door)
    store = rooms.review.links.store
    inside = store.copies(link.id)[0].id
    for path in (f"/picture/{inside}", f"/copy/{inside}", "/compare"):
        assert client.get(link.url + path).status_code == 404
    assert client.post(link.url, data={"pin": "spring-27"}).status_code == 403
    assert client.post(link.url, data={"pin": "spring-26"}).status_code == 303
    assert len(ids_of(client.get(link.url))) == 2
    stranger = httpx.Client()
    with stranger:
        tries = [stranger.post(link.url, data={"pin": f"000{n}"}).status_code for n in range(7)]
        assert tries == [403] * 4 + [429] * 3
        assert stranger.post(link.url, data={"pin": "spring-26"}).status_code == 429  # not looked at now
    row = store.rows("SELECT * FROM links WHERE id = ?", link.id)[0]
    assert b"spring-26" not in bytes(row["pin_hash"]) and row["pin_failures"] >= 5
    assert [line.kind for line in rooms.review.trail(link.id)].count("pin_refused") == 6


def test_the_view_limit_counts_browsers_not_visits(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(views=2)
    for _ in range(4):
        assert client.get(link.url).status_code == 200
    assert client.head(link.url).status_code == 200
    with httpx.Client() as second, httpx.Client() as third:
        page = second.get(link.url)
        assert page.status_code == 200
        assert third.get(link.url).status_code == 404
        assert third.get(f"{link.url}/picture/{ids_of(page)[0]}").status_code == 404
        assert second.get(f"{link.url}/picture/{ids_of(page)[0]}").status_code == 200
    assert rooms.review.get(link.id).viewers == 2


def test_verdicts_comments_and_pins_reach_the_studio(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(3)
    ids = introduced(client, link.url, "Ann 安")
    client.post(f"{link.url}/say/{ids[0]}", data={"verdict": "approved"})
    client.post(f"{link.url}/say/{ids[1]}", data={"verdict": "approved"})
    client.post(f"{link.url}/say/{ids[1]}", data={"verdict": "rejected"})
    client.post(f"{link.url}/say/{ids[2]}", data={"verdict": "approved"})
    client.post(f"{link.url}/say/{ids[2]}", data={"verdict": "withdrew"})
    client.post(
        f"{link.url}/say/{ids[0]}", data={"text": "<i>logo</i> larger\r\nplease", "x": "0.25", "y": "0.5"}
    )
    view = rooms.review.get(link.id)
    assert (view.approved, view.rejected, view.comments, view.viewers) == (1, 1, 1, 1)
    page = client.get(link.url).text
    assert "&lt;i&gt;logo&lt;/i&gt; larger\nplease" in page and 'data-pin="1"' in page
    assert re.search(r'<circle cx="40.0" cy="60.0"', page)  # 0.25 of 160, 0.5 of 120
    found = rooms.review.verdicts()
    assert found[link.images[0]].state in ("approved", "rejected") and found[link.images[0]].comments >= 1
    kinds = [line.kind for line in rooms.review.trail(link.id)]
    assert kinds[:3] == ["shared", "opened", "named"] and kinds.count("approved") == 3


def test_what_no_page_sends_is_not_kept(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    ids = introduced(client, link.url)
    url = f"{link.url}/say/{ids[0]}"
    for fields in (
        {"verdict": "revoked"}, {"text": "x", "x": "2", "y": "0"}, {"text": "x", "x": "nan", "y": "0"},
        {"text": "x", "x": "0.5"}, {f"f{n}": "x" for n in range(20)},
    ):  # fmt: skip
        assert client.post(url, data=fields).status_code == 404
    assert client.post(url, content=b"text=" + b"x" * 40_000).status_code == 404
    assert client.post(url, data={"text": " \x07\n"}).status_code == 303  # nothing to keep
    with httpx.Client() as nameless:
        nameless.get(link.url)
        answer = nameless.post(url, data={"verdict": "approved"})
        assert answer.status_code == 303 and answer.headers["location"].endswith("#who")
    assert {line.kind for line in rooms.review.trail(link.id)} == {"shared", "opened", "named"}


def test_one_visitor_cannot_flood_a_link(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    ids = introduced(client, link.url)
    codes = [client.post(f"{link.url}/say/{ids[0]}", data={"text": "x"}).status_code for _ in range(60)]
    assert set(codes) == {303, 429} and codes.count(303) <= 45


def test_the_token_is_stored_nowhere(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share(pin="tulip-field")
    client.get(link.url)
    token = link.url.rsplit("/", 1)[1]
    assert len(token) >= 22  # 128 bits and more
    for file in rooms.review.links.folder.parent.rglob("*"):
        if file.is_file():
            assert token.encode() not in file.read_bytes(), file
            assert b"tulip-field" not in file.read_bytes(), file
    assert (rooms.review.links.folder.parent / "review.key").stat().st_mode & 0o077 == 0


def test_cookies_and_headers_are_strict(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    page = client.get(link.url)
    cookie = page.headers["set-cookie"].lower()
    assert (
        "httponly" in cookie
        and "samesite=lax" in cookie
        and f"path={urlsplit(link.url).path.lower()}" in cookie
    )
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "style=" not in page.text and "<style" not in page.text and " onclick" not in page.text
    for name, value in {
        "x-content-type-options": "nosniff", "cache-control": "no-store", "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
    }.items():  # fmt: skip
        assert page.headers[name] == value
    assert "server" not in page.headers and "access-control-allow-origin" not in page.headers


def test_the_room_speaks_chinese_to_who_does_and_to_who_asks(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    assert "请您审阅" in client.get(link.url, headers={"accept-language": "zh-CN,en;q=0.5"}).text
    assert "For your review" in client.get(link.url).text
    chosen = client.get(f"{link.url}?language=zh", follow_redirects=True)
    assert "国潮" in chosen.text and "?language" not in str(chosen.url)
    assert "请您审阅" in client.get(link.url).text


def test_the_room_ends_by_itself_comes_back_and_keeps_its_links(rooms: Rooms, client: httpx.Client) -> None:
    link = rooms.share()
    process = rooms.review.keeper._room
    assert process is not None
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if client.get(rooms.review.get(link.id).url).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    assert rooms.review.keeper._room is not process
    assert client.get(rooms.review.get(link.id).url).status_code == 200


def test_the_room_process_opens_nothing_but_its_folder(rooms: Rooms) -> None:
    """It may not even know the studio's database or the key of its links."""
    rooms.share()
    process = rooms.review.keeper._room
    assert process is not None
    home = rooms.review.links.folder.parent
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().replace("\0", " ")
    assert str(rooms.review.links.folder) in command and "studio.db" not in command
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "torch" not in maps and "gradio" not in maps
    store = sqlite3.connect(f"file:{rooms.review.links.folder / 'review.db'}?mode=ro", uri=True)
    with store:
        assert not [row for row in store.execute("SELECT source FROM pictures") if str(home) in row[0]]
    store.close()
