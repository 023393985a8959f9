"""Users, sessions, keys: who is told apart, what is kept, how often one may be wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from studio.accounts import Accounts, Attempts, accounts, attempts
from studio.accounts.attempts import TooManyAttempts, source_of
from studio.errors import BadRequest, Conflict, NotFound
from studio.library import Database

WORD = "correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "studio.db"


@pytest.fixture
def book(file: Path) -> Iterator[Accounts]:
    with closing(Database(file)) as database:
        yield Accounts(database)


def test_a_user_signs_in_with_the_right_password_only(book: Accounts) -> None:
    assert not book.any()
    book.add_user("Anna", WORD)
    assert book.any() and [row.name for row in book.list_users()] == ["Anna"]
    token = book.sign_in("anna", WORD)
    assert token is not None
    person = book.of_session(token)
    assert person is not None and person.name == "Anna" and person.scopes == {"read", "generate"}
    assert book.sign_in("anna", WORD + "x") is None and book.sign_in("berta", WORD) is None
    assert book.of_session("") is None and book.of_session(token + "x") is None


def test_an_admin_may_everything(book: Accounts) -> None:
    book.add_user("chief", WORD, admin=True)
    person = book.of_session(book.sign_in("chief", WORD) or "")
    assert person is not None and person.sees_all and person.may("read") and person.may("admin")


def test_nothing_that_opens_a_door_is_kept_as_it_is(book: Accounts, file: Path) -> None:
    book.add_user("anna", WORD)
    token = book.sign_in("anna", WORD) or ""
    _, key = book.add_key("ci", ["read"], "anna")
    for kept in file.parent.glob("studio.db*"):
        data = kept.read_bytes()
        for secret in (WORD, token, key, key.rpartition("_")[2]):
            assert secret.encode() not in data
    assert b"$argon2id$" in b"".join(kept.read_bytes() for kept in file.parent.glob("studio.db*"))


def test_a_session_ends_by_itself_by_signing_out_and_with_the_password(
    book: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.add_user("anna", WORD)
    first, second = (book.sign_in("anna", WORD) or "" for _ in range(2))
    book.sign_out(first)
    assert book.of_session(first) is None and book.of_session(second) is not None
    book.set_password("Anna", "another good word")
    assert book.of_session(second) is None
    assert book.sign_in("anna", WORD) is None
    third = book.sign_in("anna", "another good word") or ""
    late = time.time() + accounts.SESSION + 1
    monkeypatch.setattr(time, "time", lambda: late)
    assert book.of_session(third) is None


def test_a_user_who_goes_takes_sessions_and_keys_along(book: Accounts) -> None:
    book.add_user("anna", WORD)
    token, (_, key) = book.sign_in("anna", WORD) or "", book.add_key("ci", ["read"], "ANNA")
    book.remove_user("anna")
    assert book.of_session(token) is None and book.of_key(key) is None and not book.any()
    with pytest.raises(NotFound):
        book.remove_user("anna")


@pytest.mark.parametrize("name", ["", "local", "LOCAL", "a b", "../x", "-a", ".a", "a" * 65, "a\r\nb", "<b>"])
def test_a_name_that_cannot_be_is_refused(book: Accounts, name: str) -> None:
    with pytest.raises(BadRequest):
        book.add_user(name, WORD)


def test_a_name_counts_once_whatever_its_case(book: Accounts) -> None:
    book.add_user("Änne", WORD)
    with pytest.raises(Conflict):
        book.add_user("änne", WORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 201])
def test_a_password_too_short_or_too_long_is_refused(book: Accounts, password: str) -> None:
    with pytest.raises(BadRequest, match=f"has {len(password)} characters"):
        book.add_user("anna", password)
    assert not book.any()


def test_a_key_opens_what_its_scopes_say_until_it_is_revoked(book: Accounts) -> None:
    book.add_user("anna", WORD)
    row, key = book.add_key("ci", ["generate"], "anna")
    person = book.of_key(key)
    assert person is not None and person.name == "anna" and person.key == row.id
    assert person.may("generate") and not person.may("read") and not person.sees_all
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), key + "x", "bsk_", "", "ключ"):
        assert book.of_key(wrong) is None
    book.revoke_key("ci")
    assert book.of_key(key) is None and book.list_keys() == []
    with pytest.raises(NotFound):
        book.revoke_key("ci")


def test_a_key_without_a_user_is_the_houses(book: Accounts) -> None:
    _, key = book.add_key("ci", ["read", "generate"])
    person = book.of_key(key)
    assert person is not None and person.name == "local" and not person.sees_all
    assert book.any() and not book.any_users()


def test_a_key_is_asked_for_wisely(book: Accounts) -> None:
    book.add_user("anna", WORD)
    for label, scopes, user in (
        ("a", ["all"], None),
        ("a", [], None),
        ("", ["read"], None),
        ("a", ["admin"], "anna"),
    ):
        with pytest.raises(BadRequest):
            book.add_key(label, scopes, user)
    with pytest.raises(NotFound):
        book.add_key("a", ["read"], "berta")


def test_an_unknown_user_costs_as_much_as_a_wrong_password(
    book: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, not timed: both hash once."""
    from studio.accounts import passwords

    book.add_user("anna", WORD)
    passwords.decoy()
    asked: list[str] = []
    hasher = passwords.HASHER

    class Counting:
        def verify(self, kept: str, password: str) -> bool:
            asked.append(password)
            return hasher.verify(kept, password)

    monkeypatch.setattr(passwords, "HASHER", Counting())
    assert book.sign_in("anna", "wrong password") is None and len(asked) == 1
    assert book.sign_in("nobody", "wrong password") is None and len(asked) == 2


def test_the_sixth_failure_of_a_source_within_a_minute_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, now = Attempts(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(attempts.PER_SOURCE):
        watch.begin("10.0.0.1", f"user{number}")
    with pytest.raises(TooManyAttempts) as caught:
        watch.begin("10.0.0.1", "another")
    assert caught.value.status == 429 and caught.value.retry_after == 60
    watch.begin("10.0.0.2", "user0")  # another source is not punished
    now += 61
    watch.begin("10.0.0.1", "user0")


def test_many_sources_that_guess_one_user_wait_too() -> None:
    watch = Attempts()
    for number in range(attempts.PER_USER):
        watch.begin(f"10.0.0.{number}", "Anna")
    with pytest.raises(TooManyAttempts):
        watch.begin("10.0.1.1", "anna")


def test_who_is_right_is_not_counted() -> None:
    watch = Attempts()
    for _ in range(50):
        watch.begin("10.0.0.1", "anna")
        watch.forgive("10.0.0.1", "anna")


def test_a_network_of_ipv6_is_one_source() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2") != source_of("2001:db8:0:1::1")
    assert source_of("::ffff:10.0.0.1") == "10.0.0.1" and source_of("testclient") == "testclient"


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "REMEMBERED", 10)
    watch = Attempts()
    for number in range(100):
        watch.begin(f"10.0.0.{number}", f"user{number}")
    assert len(watch._failed) <= 11
