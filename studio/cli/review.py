"""`studio review`: links at which clients see chosen pictures, and nothing else."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.rows import Json, show_rows
from studio.errors import BadRequest

if TYPE_CHECKING:
    from studio.review.links import LinkView
    from studio.review.review import Review

COLUMNS = ("id", "state", "title", "expires", "viewers", "approved", "rejected", "comments", "url")
NOBODY = "Nobody serves this link now: start the studio, or run `studio review serve`."

review = typer.Typer(help="Links at which clients review pictures.", no_args_is_help=True)


@review.command()
def share(
    images: Annotated[list[str], typer.Argument(help="Ids of pictures in the library.", metavar="IMAGE_ID…")],
    expires: Annotated[str, typer.Option(help="30m, 1h, 7d; at most 30d.")] = "7d",
    pin: Annotated[
        str | None, typer.Option(help="Asked for before anything is shown; 4 to 64 letters.")
    ] = None,
    title: Annotated[str, typer.Option(help="Above the pictures.")] = "",
    note: Annotated[str, typer.Option(help="Below the title.")] = "",
    download: Annotated[
        str, typer.Option(help="none or copy: the whole picture without its notes.")
    ] = "none",
    views: Annotated[int | None, typer.Option(help="Most visitors.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Whose colours the room wears; default: the pictures'.")
    ] = None,
    tunnel: Annotated[str | None, typer.Option(help="gradio or ssh: reachable from the internet.")] = None,
    as_json: Json = False,
) -> None:
    """Make a link: {"url", "id", "expires"}."""
    from studio.review.links import ShareRequest
    from studio.schema import parse
    from studio.settings import read_settings
    from studio.studio import Studio

    request = parse(
        ShareRequest,
        {"images": images, "expires": expires, "pin": pin, "title": title, "note": note, "download": download,
         "views": views, "preset": preset, "tunnel": tunnel},
    )  # fmt: skip
    with closing(Studio.open(read_settings())) as studio:
        link = studio.share(request)
        served = studio.review.ready()
        if served and tunnel:
            link = carried(studio.review, link)
    row = describe(link)
    if as_json:
        typer.echo(json.dumps({name: row[name] for name in ("url", "id", "expires")}))
    else:
        typer.echo(
            f"{row['url']}\nopen until {row['expires']}; end it with: studio review revoke {row['id']}"
        )
    if not served:
        typer.echo(NOBODY, err=True)


def carried(review: Review, link: LinkView, patience: float = 45.0) -> LinkView:
    """The link once its tunnel is open or said why not."""
    until = time.monotonic() + patience
    while link.tunnel_state != "open" and time.monotonic() < until:
        if link.tunnel_state == "broken":
            typer.echo(link.tunnel_problem, err=True)
            break
        time.sleep(0.2)
        link = review.get(link.id)
    return link


@review.command("list")
def print_links(as_json: Json = False) -> None:
    """Every link with its visitors and what they said."""
    with closing(opened()) as review:
        show_rows([describe(link) for link in review.all()], as_json, COLUMNS)


@review.command()
def revoke(id: str, as_json: Json = False) -> None:
    """End a link now; its copies of the pictures are erased."""
    with closing(opened()) as review:
        show_rows([describe(review.revoke(id))], as_json, ("id", "state"))


@review.command()
def extend(
    id: str, expires: Annotated[str, typer.Argument(help="From now: 1h, 7d; at most 30d.")] = "7d",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Let a link live longer."""
    from studio.review.links import read_span

    with closing(opened()) as review:
        show_rows(
            [describe(review.extend(id, read_span(expires)))], as_json, ("id", "state", "expires", "url")
        )


@review.command()
def trail(id: str, as_json: Json = False) -> None:
    """All that happened on a link: who came, what they said, who shared and ended it."""
    from studio.review.pages import iso

    with closing(opened()) as review:
        review.get(id)
        rows = [
            {"at": iso(line.at), "kind": line.kind, "name": line.name, "image": line.source or "",
             "text": line.text, "x": line.x, "y": line.y}
            for line in review.trail(id)
        ]  # fmt: skip
    show_rows(rows, as_json, ("at", "kind", "name", "image", "text"))


@review.command()
def package(
    id: str,
    out: Annotated[Path, typer.Option(help="The ZIP file to write.")] = Path("review.zip"),
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
) -> None:
    """Write the room as a file that works without internet."""
    with closing(opened()) as review:
        data = review.package(id, language)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise BadRequest(f"{out.name} cannot be written: {error.strerror}.") from None
    typer.echo(f"{out}: {len(data) / 2**20:.1f} MB. What comes back: studio review import FILE.")


@review.command("import")
def take_in(file: Path) -> None:
    """Take in the feedback file of an offline package."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadRequest(f"{file.name} cannot be read: {error.strerror}.") from None
    with closing(opened()) as review:
        typer.echo(f"{review.take_in(data)} new.")


@review.command()
def serve() -> None:
    """Keep the review room open without the studio, until Ctrl+C."""
    with closing(opened()) as review:
        review.links.store  # noqa: B018  (the folder, so that there is something to keep)
        review.start()
        review.ready()
        typer.echo("The review room is open. Ctrl+C closes it.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            typer.echo("Closed.")


def opened() -> Review:
    from studio.review.review import Review
    from studio.settings import read_settings

    return Review(read_settings())


def describe(link: LinkView) -> dict[str, Any]:
    from studio.review.pages import iso

    times = {name: iso(getattr(link, name)) for name in ("created", "expires")}
    last = {"last_visit": None if link.last_visit is None else iso(link.last_visit)}
    return {**vars(link), **times, **last}
