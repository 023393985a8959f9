"""`studio doctor`: what is there and what is missing."""

from __future__ import annotations

import json

import typer

from studio.cli.rows import Json

MARKS = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}


def doctor(as_json: Json = False) -> None:
    """What is there, what is missing, and the command that mends it. Status 1 when something is missing."""
    from studio.doctor import examine
    from studio.settings import read_settings

    checks = examine(read_settings())
    good = all(check.state != "missing" for check in checks)
    if as_json:
        typer.echo(json.dumps({"ok": good, "checks": [vars(check) for check in checks]}, ensure_ascii=False))
    else:
        for check in checks:
            typer.echo(f"{MARKS[check.state]} {check.name:<24} {check.found}")
            if check.mend:
                typer.echo(f"{'':27}{check.mend}")
    raise SystemExit(0 if good else 1)
