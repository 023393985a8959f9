"""`studio generate`: pictures from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.interrupt import cancelled_by_ctrl_c
from studio.cli.rows import Json
from studio.errors import BadRequest, EngineError, UnsupportedImage

if TYPE_CHECKING:
    from studio.cli.server import Server
    from studio.schema import JobView
    from studio.studio import Studio


def generate(
    prompt: Annotated[str, typer.Argument(help="What the picture shows.")],
    preset: Annotated[str | None, typer.Option(help="Brand preset.")] = None,
    model: Annotated[str | None, typer.Option()] = None,
    negative: Annotated[str | None, typer.Option(help="What it must not show.")] = None,
    width: Annotated[int | None, typer.Option(help="px")] = None,
    height: Annotated[int | None, typer.Option(help="px")] = None,
    steps: Annotated[int | None, typer.Option()] = None,
    guidance: Annotated[float | None, typer.Option(help="7 to 15 is usual.")] = None,
    scheduler: Annotated[str | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option(help="Picture i uses seed + i; left out: drawn.")] = None,
    count: Annotated[int, typer.Option(help="Pictures.")] = 1,
    lora: Annotated[list[str] | None, typer.Option(help="NAME:WEIGHT; may be given again.")] = None,
    canny: Annotated[Path | None, typer.Option(help="Picture whose edges steer the new one.")] = None,
    low: Annotated[int | None, typer.Option(help="Lower edge threshold.")] = None,
    high: Annotated[int | None, typer.Option(help="Upper edge threshold.")] = None,
    control_scale: Annotated[float | None, typer.Option(help="How strongly the edges act.")] = None,
    init: Annotated[Path | None, typer.Option(help="Picture to start from.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far from --init, above 0 to 1.")] = None,
    refiner: Annotated[
        str | None, typer.Option(help="Model that goes on with the last steps (SDXL).")
    ] = None,
    refiner_at: Annotated[float | None, typer.Option(help="Share of the steps after which it does.")] = None,
    draft: Annotated[bool, typer.Option("--draft", help="Faster and rougher.")] = False,
    product: Annotated[
        Path | None, typer.Option(help="Product whose own pixels stand in the picture.")
    ] = None,
    product_at: Annotated[
        str | None, typer.Option(help="X,Y,WIDTH: its middle and its base, shares of the picture.")
    ] = None,
    product_edge: Annotated[float | None, typer.Option(help="px over which its rim fades.")] = None,
    product_shadow: Annotated[float | None, typer.Option(help="0 is none, 1 the darkest.")] = None,
    product_edges: Annotated[bool, typer.Option("--product-edges", help="Its outline guides.")] = False,
    background: Annotated[
        str | None, typer.Option(help="scene, plain, transparent or a colour such as #F4F1EA.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; left out: the library's own files.")
    ] = None,
    server: Annotated[
        str, typer.Option(help="Address of a running studio; left out: the one that serves this home folder.")
    ] = "",
    alone: Annotated[bool, typer.Option("--alone", help="In this process, whatever runs.")] = False,
    as_json: Json = False,
) -> None:
    """Make pictures; one JSON line each: {"path", "seed", "seconds"}. A running studio makes them, if any."""
    from studio.cli.server import Server, running
    from studio.schema import GenerationRequest, parse
    from studio.settings import read_settings

    asked: dict[str, Any] = {
        "prompt": prompt, "preset": preset, "model": model, "negative_prompt": negative, "width": width,
        "height": height, "steps": steps, "guidance": guidance, "scheduler": scheduler, "seed": seed,
        "count": count, "strength": strength, "loras": [stack_row(row) for row in lora or ()] or None,
        "refiner": refining(refiner, refiner_at), "draft": draft or None, "background": background,
    }  # fmt: skip
    place = given({"edge": product_edge, "shadow": product_shadow, "edges": product_edges or None}) | placed(
        product_at
    )
    if product is None and place:
        raise BadRequest("--product-... place --product.", hint="Give --product FILE.", field="product")
    edges = {"low": low, "high": high, "scale": control_scale}
    if canny is None and given(edges):
        raise BadRequest(
            "--low, --high and --control-scale steer --canny.", hint="Give --canny FILE.", field="control"
        )
    pictures = given(
        {"init_image": read_picture(init, "init_image"), "control": read_picture(canny, "control.image"),
         "product": read_picture(product, "product.image")}
    )  # fmt: skip
    frames = {"control": {"type": "canny", **given(edges)}, "product": place}
    # Mistakes are told before torch is imported, and before a picture is sent.
    parse(GenerationRequest, filled(given(asked), dict.fromkeys(pictures, "-"), frames))
    home = read_settings().home
    address = server or ("" if alone else running(home))
    if address:
        return ask(Server(address), given(asked), pictures, frames, Keep(home, out))
    with closing(open_studio()) as studio:
        ids = {field: studio.upload(data) for field, data in pictures.items()}
        request = parse(GenerationRequest, filled(given(asked), ids, frames))
        studio.resolve(request)  # names too
        studio.start()
        run(studio, studio.submit(request), out)


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def filled(asked: dict[str, Any], ids: Mapping[str, str], frames: Mapping[str, Any]) -> dict[str, Any]:
    """The request with its pictures. `frames`: what else is said of one, by its field."""
    pictures = {field: {**frames[field], "image": id} if field in frames else id for field, id in ids.items()}
    return {**asked, **pictures}


def placed(text: str | None) -> dict[str, float]:
    """`X,Y,WIDTH`, or the first of them. Raises BadRequest."""
    parts = text.split(",") if text else []
    try:
        return dict(zip(("x", "y", "width")[: len(parts)], map(float, parts), strict=True))
    except ValueError:
        raise BadRequest(
            f"--product-at {text!r}: not one to three numbers.", hint="Write 0.5,0.8,0.4.", field="product"
        ) from None


def stack_row(text: str) -> dict[str, Any]:
    """`NAME:WEIGHT` or `NAME`. Raises BadRequest."""
    name, colon, weight = text.rpartition(":")
    if not colon:
        return {"name": text}
    try:
        return {"name": name, "weight": float(weight)}
    except ValueError:
        raise BadRequest(
            f"--lora {text!r}: the weight is not a number.", hint="Write NAME:0.8.", field="loras"
        ) from None


def refining(model: str | None, at: float | None) -> dict[str, Any] | None:
    """Raises BadRequest for a share without a model."""
    if model is None:
        if at is not None:
            raise BadRequest(
                "--refiner-at says when --refiner begins.", hint="Give --refiner NAME.", field="refiner"
            )
        return None
    return given({"model": model, "at": at})


def read_picture(file: Path | None, field: str) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnsupportedImage(f"{file.name} cannot be read: {error.strerror}.", field=field) from None


def open_studio() -> Studio:
    """With the engine in this process: nothing is left running afterwards."""
    from studio.settings import read_settings
    from studio.studio import Studio

    settings = read_settings()
    inline = "inline" if settings.executor == "local" else settings.executor
    return Studio.open(settings.model_copy(update={"executor": inline}))


def run(studio: Studio, job: JobView, out: Path | None) -> None:
    """Follows the job to its end. Raises EngineError when the run failed; exits with 130 after Ctrl+C."""
    from studio.schema import Cancelled, Failed, Picture, Progress

    with cancelled_by_ctrl_c(lambda: studio.cancel(job.id)):
        for _, event in studio.events(job.id):
            if isinstance(event, Picture):
                tell(deliver(studio, event.id, out), event.seed, event.seconds)
            elif isinstance(event, Failed):
                raise failed(event.error)
            elif isinstance(event, Cancelled):
                raise cancelled()
            elif isinstance(event, Progress):
                show(event.step, event.of)


def ask(
    server: Server, asked: dict[str, Any], pictures: dict[str, bytes], frames: Mapping[str, Any], keep: Keep
) -> None:
    """The same through a running studio. Raises what it says."""
    from studio.cli.server import NoServer

    ids = {field: server.upload(data) for field, data in pictures.items()}
    job = server.submit(filled(asked, ids, frames))
    with cancelled_by_ctrl_c(lambda: server.cancel(job)):
        for name, data in server.events(job):
            if name == "picture":
                tell(keep.file(server, data["id"], data["seed"]), data["seed"], data["seconds"])
            elif name == "failed":
                raise failed(data["error"])
            elif name == "cancelled":
                raise cancelled()
            elif name == "progress":
                show(data["step"], data["of"])
            elif name == "server_restart":
                raise NoServer(
                    "The studio was told to stop.", hint=f"Job {job} goes on when it starts again."
                )


def tell(path: Path, seed: int, seconds: float) -> None:
    typer.echo(json.dumps({"path": str(path), "seed": seed, "seconds": seconds}, ensure_ascii=False))


def failed(said: Mapping[str, Any]) -> EngineError:
    return EngineError(said["message"], hint=said["hint"], field=said["field"], code=said["code"])


def cancelled() -> SystemExit:
    typer.echo("Cancelled.", err=True)
    return SystemExit(130)


def show(step: int, of: int) -> None:
    """Progress on a terminal, one line that is written over."""
    if sys.stderr.isatty():
        typer.echo(f"\rstep {step} of {of} ", err=True, nl=step == of)


def deliver(studio: Studio, image: str, out: Path | None) -> Path:
    """The picture's file: the library's own, or a copy in `out` named by seed and id."""
    row = studio.image(image)
    if out is None:
        return row.file
    out.mkdir(parents=True, exist_ok=True)
    copy = out / f"{row.seed}-{row.id[:8]}{row.file.suffix}"
    copy.write_bytes(row.file.read_bytes())
    return copy.resolve()


@dataclass(frozen=True)
class Keep:
    """Where pictures of a server go: into `out`, else they stay in the library of `home`, else here."""

    home: Path
    out: Path | None

    def file(self, server: Server, id: str, seed: int) -> Path:
        ending, data = server.picture(id)
        own = self.home / "pictures" / f"{id}.{ending}"
        if self.out is None and own.is_file():
            return own
        folder = self.out or Path()
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / f"{seed}-{id[:8]}.{ending}"
        copy.write_bytes(data)
        return copy.resolve()
