"""`studio verify`: who made a picture, and whether it was changed since."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import typer

from studio.cli.rows import Json


def verify(file: Path, as_json: Json = False) -> None:
    """Read a picture's manifest and its invisible mark."""
    from studio.cli.generate import open_studio, read_picture

    data = read_picture(file, "file") or b""
    with closing(open_studio()) as studio:
        found = studio.verify(data)
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    typer.echo(found.verdict)
    if found.manifest is not None:
        made = found.manifest
        said = (made.state, made.signer, made.generator, made.model, made.made)
        typer.echo(f"manifest: {'; '.join(filter(None, said))}")
    if found.mark:
        typer.echo(f"mark: {found.mark}; in the library: {', '.join(found.pictures) or 'no'}")
