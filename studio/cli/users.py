"""`studio users`: who may sign in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.rows import Json, pick, show_rows
from studio.errors import BadRequest

if TYPE_CHECKING:
    from studio.accounts import Accounts

COLUMNS = ("name", "admin", "created")

users = typer.Typer(
    help="Who may sign in. With the first user everybody has to.", invoke_without_command=True
)


@contextmanager
def open_accounts() -> Iterator[Accounts]:
    """The accounts of this home; a running server notices changes within a second."""
    from studio.accounts import Accounts
    from studio.library import Database
    from studio.settings import read_settings

    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    with closing(Database(settings.home / "studio.db", settings.database_url)) as database:
        yield Accounts(database)


def ask_password() -> str:
    """Typed twice without echo; from a pipe, its first line. Never an option: other users see those."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first: str = typer.prompt("Password", hide_input=True)
    if first != typer.prompt("Again", hide_input=True):
        raise BadRequest("The two passwords differ.", code="bad_password")
    return first


@users.callback()
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """Without a verb: the list."""
    if context.invoked_subcommand is None:
        print_users(as_json)


@users.command("list")
def print_users(as_json: Json = False) -> None:
    """Name, admin, since when."""
    with open_accounts() as book:
        show_rows([pick(row, *COLUMNS) for row in book.list_users()], as_json, ("name", "admin"))


@users.command("add")
def add_user(
    name: str,
    admin: Annotated[
        bool, typer.Option("--admin", help="Sees everybody's pictures, may change models.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a user; the password is asked for, or read from a pipe."""
    with open_accounts() as book:
        row = book.add_user(name, ask_password(), admin)
    show_rows([pick(row, *COLUMNS)], as_json, ("name", "admin"))


@users.command("remove")
def remove_user(name: str) -> None:
    """Remove a user with sessions and keys; pictures stay and are seen by admins."""
    with open_accounts() as book:
        book.remove_user(name)


@users.command("password")
def set_password(name: str) -> None:
    """Set a new password; the user's sessions end."""
    with open_accounts() as book:
        book.set_password(name, ask_password())
