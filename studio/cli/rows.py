"""What the verbs print: one JSON list for programs, one line a row for people."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str | None, typer.Option("--name", help="Name to pick it by; default: the file's.")]


def pick(row: object, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def show_rows(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    """One JSON list, or one line a row."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        cells = [cell(row[name]) for name in columns]
        typer.echo("  ".join(f"{text:<16}" for text in cells).rstrip())


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("en", ""))
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)
