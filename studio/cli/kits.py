"""`studio kits`: brands out as signed files, and in from kits, brand files and other tools."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from studio.cli.rows import Json, show_rows
from studio.errors import NotFound

kits = typer.Typer(help="Brand kits: signed files of a preset and the styles it wears.")
BY = "local"


@kits.command("export")
def export_kit(name: str, file: Annotated[Path | None, typer.Argument()] = None) -> None:
    """Write NAME.brandkit, or FILE; an existing file is not overwritten."""
    from studio.cli.generate import open_studio

    target = file if file is not None else Path(f"{name}.brandkit")
    with closing(open_studio()) as studio:
        studio.kits.text(name)  # a name that is not there leaves no empty file
        with target.open("xb") as out:
            studio.trade.export(name, BY, out)
    typer.echo(str(target))


@kits.command("import")
def import_kit(
    file: Path,
    replace: Annotated[
        bool, typer.Option("--replace", help="As a new version of a preset of that name.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take in a .brandkit, a brand file, a styles.csv of A1111 or a preset of Fooocus."""
    from studio.cli.generate import open_studio

    if not file.is_file():
        raise NotFound(f"No file {file.name[:80]!r}.", field="file")
    with closing(open_studio()) as studio, file.open("rb") as data:
        rows = [asdict(row) for row in studio.trade.bring(data, file.name, BY, replace)]
    show_rows(rows, as_json, ("name", "source", "left_out", "problem"))
