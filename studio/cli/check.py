"""`studio check`: protected logos and artworks in files; a brand's rules for pictures of the library."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.rows import Json

if TYPE_CHECKING:
    from studio.studio import Studio

ID = re.compile(r"[0-9a-f]{32}")
SIGNS = {"green": "✓", "amber": "!", "red": "✕", "off": "–"}


def check(
    files: Annotated[
        list[Path],
        typer.Argument(help="PNG, JPEG or WebP; or a picture's id in the library.", metavar="FILE|ID…"),
    ],
    as_json: Json = False,
) -> None:
    """Look for protected pictures in files from elsewhere, and hold pictures of the library against the
    rules of their brand. Exit code 1 where one is found or a rule is broken."""
    from studio.cli.generate import open_studio, read_picture

    found = False
    with closing(open_studio()) as studio:
        for file in files:
            if ID.fullmatch(file.name) and not file.exists():
                found |= rule(studio, file.name, as_json)
                continue
            checks = studio.check(read_picture(file, "file") or b"")
            found |= any(check["findings"] for check in checks)
            if as_json:
                typer.echo(json.dumps({"file": file.name, "checks": checks}, ensure_ascii=False))
                continue
            lines = [line for check in checks for line in lines_of(check)]
            typer.echo(f"{file.name}: {'; '.join(lines) or 'nothing is protected: the folder is empty'}")
    if found:
        raise typer.Exit(1)


def rule(studio: Studio, id: str, as_json: bool) -> bool:
    """Prints a line for each rule; True where one is broken."""
    report = studio.rules_after(id)
    if as_json:
        rows = [
            {"rule": row.rule, "light": row.light, "reason": row.reason[0], "figures": dict(row.figures)}
            for row in report.rulings
        ]
        told = {"image": id, "worst": report.worst.light, "rules": rows}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        for row in report.rulings:
            typer.echo(f"{SIGNS[row.light]} {row.light:5} {row.title[0]}: {row.reason[0]}")
    return report.worst.light == "red"


def lines_of(check: dict[str, object]) -> list[str]:
    findings = check["findings"]
    if not isinstance(findings, list) or not findings:
        return [f"none of {check['looked_for']} protected pictures"]
    return [f"{one['match']} {one['score']:.0%} at {one['box']}" for one in findings]
