"""`studio campaign`: a sheet of products, scenes and formats becomes a folder of named pictures."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.generate import open_studio
from studio.cli.interrupt import cancelled_by_ctrl_c
from studio.cli.rows import Json
from studio.errors import BadRequest, EngineError

if TYPE_CHECKING:
    from studio.campaigns import CampaignView, ShotView
    from studio.studio import Studio

LOOK = 0.3  # s between two looks
KINDS = (".png", ".jpg", ".jpeg", ".webp")
NOTE = ".campaign.json"  # in the output folder: which campaign it belongs to, so that a restart goes on


def campaign(
    sheet: Annotated[Path, typer.Argument(help="CSV or XLSX: one row for each product.")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures; default: the sheet's name.")] = None,
    pattern: Annotated[str, typer.Option(help="File names, such as {sku}_{scene}_{size}_{seed}.")] = "",
    preset: Annotated[str | None, typer.Option(help="For rows that name none.")] = None,
    model: Annotated[str | None, typer.Option(help="For rows that name none.")] = None,
    name: Annotated[str, typer.Option(help="Default: the sheet's.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only look: preview, time, disk.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run rows that failed once more.")] = False,
    as_json: Json = False,
) -> None:
    """Run a sheet; the same command again goes on where it was stopped. One JSON line for each picture."""
    from studio.brand.names import PATTERN
    from studio.brand.sheet import read_sheet
    from studio.campaigns import Options

    data = read_file(sheet)
    table = read_sheet(data)
    fields = {key: value for key, value in (("preset", preset), ("model", model)) if value is not None}
    folder = out if out is not None else sheet.with_suffix("")
    with closing(open_studio()) as studio:
        pictures = upload_named(studio, sheet.parent, table)
        options = Options(pattern or PATTERN, fields, pictures)
        if check:
            return say_plan(studio, table, options, as_json)
        mark = fingerprint(data, options.pattern, fields)
        id = known(studio, folder, mark)
        if id is None:
            id = studio.campaigns.create(table, options, name or sheet.stem).id
            note(folder, mark, id)
        elif retry:
            studio.campaigns.retry(id)
        studio.start()
        studio.campaigns.start(only=id)
        finish(studio, id, folder, as_json)


def read_file(sheet: Path) -> bytes:
    try:
        return sheet.read_bytes()
    except OSError as error:
        raise BadRequest(f"{sheet.name} cannot be read: {error.strerror}.", field="sheet") from None


def upload_named(studio: Studio, folder: Path, table: Any) -> dict[str, str]:
    """Ids of the pictures that cells name, looked for beside the sheet; a cell `edges/` means the folder."""
    from studio.brand.sheet import PICTURES

    found: dict[str, str] = {}
    for row in table.rows:
        for column in PICTURES:
            for value in filter(None, (one.strip() for one in row.cells.get(column, "").split("|"))):
                for file in files_of(folder, value):
                    key = named(file, folder, value)
                    if key not in found:
                        found[key] = studio.upload(file.read_bytes())
    return found


def files_of(folder: Path, value: str) -> list[Path]:
    place = folder / value
    if place.is_dir():
        return sorted(file for file in place.iterdir() if file.suffix.lower() in KINDS)
    return [place] if place.is_file() else []


def named(file: Path, folder: Path, value: str) -> str:
    """As the cell writes it, or with the cell's folder before the file's own name."""
    text = f"{value.rstrip('/')}/{file.name}" if (folder / value).is_dir() else value
    return text.replace("\\", "/").removeprefix("./").casefold()


def fingerprint(data: bytes, pattern: str, fields: dict[str, str]) -> str:
    return hashlib.sha256(data + json.dumps([pattern, fields], sort_keys=True).encode()).hexdigest()


def known(studio: Studio, folder: Path, mark: str) -> str | None:
    """The campaign that this folder was begun for, if it is the same sheet and the studio still has it."""
    from studio.errors import NotFound

    try:
        kept = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if kept["mark"] != mark:
            return None
        return studio.campaigns.get(str(kept["campaign"])).id
    except (OSError, ValueError, KeyError, TypeError, NotFound):
        return None


def note(folder: Path, mark: str, id: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rough = folder / f"{NOTE}.tmp"
    rough.write_text(json.dumps({"campaign": id, "mark": mark}), encoding="utf-8")
    rough.replace(folder / NOTE)


def say_plan(studio: Studio, table: Any, options: Any, as_json: bool) -> None:
    plan = studio.campaigns.plan(table, options)
    found = studio.campaigns.forecast(plan)
    if as_json:
        typer.echo(json.dumps({"rows": len(table.rows), "runs": found.runs, "pictures": found.pictures,
            "seconds": found.seconds, "bytes": found.bytes, "free": found.free,
            "problems": [vars(one) for one in plan.problems]}, ensure_ascii=False))  # fmt: skip
    else:
        for shot in plan.shots[:10]:
            typer.echo(f"row {shot.row}: {shot.request.prompt}")
        took = "unknown before the first picture" if found.seconds is None else f"{found.seconds:.0f} s"
        typer.echo(f"{found.pictures} pictures, about {found.bytes / 2**20:.1f} MB, time: {took}")
        for one in plan.problems:
            typer.echo(f"{one.cell} ({one.column}): {one.message} {one.hint}".rstrip(), err=True)
    if plan.problems:
        raise SystemExit(2)


def finish(studio: Studio, id: str, folder: Path, as_json: bool) -> None:
    """Tells each picture as it comes, then writes the folder. Raises EngineError where rows failed."""
    told: set[str] = set()
    with cancelled_by_ctrl_c(lambda: studio.campaigns.cancel(id)):
        while True:
            view = studio.campaigns.get(id)
            tell(studio, id, folder, told)
            progress(view)
            if view.state != "running":
                break
            time.sleep(LOOK)
    tell(studio, id, folder, told)
    studio.campaigns.write_folder(id, folder)
    if view.state == "cancelled":
        typer.echo("Cancelled; the same command with --retry goes on.", err=True)
        raise SystemExit(130)
    failed = view.counts.get("failed", 0)
    if as_json:
        typer.echo(json.dumps({"campaign": id, "out": str(folder.resolve()), "counts": dict(view.counts)}))
    if failed:
        first = next(shot for shot in studio.campaigns.shots(id) if shot.state == "failed")
        raise EngineError(
            f"{failed} of {view.total} runs failed; the first is row {first.row}: {reason(first)}",
            hint="results.csv names them all; --retry runs them again.",
        )


def reason(shot: ShotView) -> str:
    return str((shot.error or {}).get("message", ""))


def tell(studio: Studio, id: str, folder: Path, told: set[str]) -> None:
    for one in studio.campaigns.pictures(id):
        if one.image.id not in told:
            told.add(one.image.id)
            path = (folder / one.path).resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.image.file.read_bytes())
            sku = one.shot.cells.get("sku", "")
            row = {"path": str(path), "seed": one.image.seed, "seconds": one.image.seconds}
            typer.echo(json.dumps(row | {"row": one.shot.row, "sku": sku}, ensure_ascii=False))


def progress(view: CampaignView) -> None:
    """On a terminal, one line that is written over."""
    if sys.stderr.isatty():
        left = f", {view.eta:.0f} s left" if view.eta is not None else ""
        typer.echo(f"\r{view.finished} of {view.total}{left} ", err=True, nl=False)
