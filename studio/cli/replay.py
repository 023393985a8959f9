"""`studio replay`: a picture of the library made again and compared."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from studio.cli.generate import open_studio
from studio.cli.rows import Json

SAID = {
    "identical": "identical: the same pixels",
    "visually_same": "visually the same",
    "different": "different",
}


def replay(
    id: Annotated[str, typer.Argument(help="Picture of the library.")],
    out: Annotated[Path | None, typer.Option(help="Write the new picture here, as PNG.")] = None,
    as_json: Json = False,
) -> None:
    """Make a picture again and say whether it is the same, and why not; exits with 1 when it differs."""
    with closing(open_studio()) as studio:
        studio.image(id)  # an unknown id is told before torch is imported
        studio.start()
        found = studio.replay(id)
    if out is not None:
        out.write_bytes(found.data)
    if as_json:
        shown = {"id": found.id, "verdict": found.verdict, "psnr": found.psnr, "why": found.why}
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        decibels = "" if found.psnr is None else f", PSNR {found.psnr} dB"
        typer.echo("\n".join([SAID[found.verdict] + decibels, *(f"  {reason}" for reason in found.why)]))
    if found.verdict == "different":
        raise typer.Exit(1)
