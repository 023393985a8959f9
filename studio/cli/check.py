"""`studio check`: are protected logos and artworks in these pictures?"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from studio.cli.rows import Json


def check(
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG or WebP.", metavar="FILE…")],
    as_json: Json = False,
) -> None:
    """Look for protected pictures in files from elsewhere. Exit code 1 where one is found."""
    from studio.cli.generate import open_studio, read_picture

    found = False
    with closing(open_studio()) as studio:
        for file in files:
            checks = studio.check(read_picture(file, "file") or b"")
            found |= any(check["findings"] for check in checks)
            if as_json:
                typer.echo(json.dumps({"file": file.name, "checks": checks}, ensure_ascii=False))
                continue
            lines = [line for check in checks for line in lines_of(check)]
            typer.echo(f"{file.name}: {'; '.join(lines) or 'nothing is protected: the folder is empty'}")
    if found:
        raise typer.Exit(1)


def lines_of(check: dict[str, object]) -> list[str]:
    findings = check["findings"]
    if not isinstance(findings, list) or not findings:
        return [f"none of {check['looked_for']} protected pictures"]
    return [f"{one['match']} {one['score']:.0%} at {one['box']}" for one in findings]
