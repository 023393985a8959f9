"""`studio keys`: keys for programs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from studio.cli.rows import Json, pick, show_rows
from studio.cli.users import open_accounts

COLUMNS = ("id", "label", "user", "scopes", "created")

keys = typer.Typer(help="API keys.", invoke_without_command=True)


@keys.callback()
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """Without a verb: the list."""
    if context.invoked_subcommand is None:
        print_keys(as_json)


@keys.command("list")
def print_keys(as_json: Json = False) -> None:
    """Id, label, user, scopes; the keys themselves are not kept."""
    with open_accounts() as book:
        rows = [pick(row, *COLUMNS) for row in book.list_keys()]
    show_rows(rows, as_json, ("id", "label", "user", "scopes"))


@keys.command("add")
def add_key(
    label: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="read, generate, admin; may be given again. Default: both first.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose pictures it makes and sees.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key; it is shown this once."""
    with open_accounts() as book:
        scopes = [one.strip() for given in scope or ["read,generate"] for one in given.split(",")]
        row, key = book.add_key(label, scopes, user)
    if as_json:
        typer.echo(json.dumps(pick(row, *COLUMNS) | {"key": key}, ensure_ascii=False))
    else:
        typer.echo(key)


@keys.command("revoke")
def revoke_key(id: Annotated[str, typer.Argument(help="Its id or label.")]) -> None:
    """Revoke a key: within a second it opens nothing."""
    with open_accounts() as book:
        book.revoke_key(id)
