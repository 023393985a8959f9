"""`studio generate`: pictures from the command line."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.rows import Json
from studio.errors import BadRequest, Conflict, EngineError, UnsupportedImage

if TYPE_CHECKING:
    from studio.schema import Event, JobView
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
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; left out: the library's own files.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make pictures; one JSON line each: {"path", "seed", "seconds"}."""
    from studio.schema import GenerationRequest, parse

    asked: dict[str, Any] = {
        "prompt": prompt, "preset": preset, "model": model, "negative_prompt": negative, "width": width,
        "height": height, "steps": steps, "guidance": guidance, "scheduler": scheduler, "seed": seed,
        "count": count, "strength": strength, "loras": [stack_row(row) for row in lora or ()] or None,
    }  # fmt: skip
    edges = {"low": low, "high": high, "scale": control_scale}
    if canny is None and given(edges):
        raise BadRequest(
            "--low, --high and --control-scale steer --canny.", hint="Give --canny FILE.", field="control"
        )
    pictures = {"init_image": read_picture(init, "init_image"), "image": read_picture(canny, "control.image")}
    parse(GenerationRequest, given(asked))  # mistakes are told before torch is imported
    with closing(open_studio()) as studio:
        ids = {field: studio.upload(data) for field, data in pictures.items() if data is not None}
        if "image" in ids:
            asked["control"] = {"type": "canny", "image": ids.pop("image"), **given(edges)}
        request = parse(GenerationRequest, given({**asked, **ids}))
        studio.resolve(request)  # names too
        studio.start()
        run(studio, studio.submit(request), out)


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


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
    from studio.schema import Cancelled, Failed, Picture

    with cancelled_by_ctrl_c(studio, job.id):
        for _, event in studio.events(job.id):
            if isinstance(event, Picture):
                row = {
                    "path": str(deliver(studio, event.id, out)),
                    "seed": event.seed,
                    "seconds": event.seconds,
                }
                typer.echo(json.dumps(row, ensure_ascii=False))
            elif isinstance(event, Failed):
                said = dict(event.error)
                raise EngineError(said["message"], hint=said["hint"], field=said["field"], code=said["code"])
            elif isinstance(event, Cancelled):
                typer.echo("Cancelled.", err=True)
                raise SystemExit(130)
            else:
                show(event)


@contextmanager
def cancelled_by_ctrl_c(studio: Studio, job: str) -> Iterator[None]:
    """The first Ctrl+C cancels the job, from a thread; the second one is Python's own.

    KeyboardInterrupt is not used: raised inside a finalizer it is lost (one run in some hundred).
    """

    def cancel() -> None:
        with suppress(Conflict):  # it ended meanwhile
            studio.cancel(job)

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        threading.Thread(target=cancel).start()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def show(event: Event) -> None:
    """Progress on a terminal, one line that is written over."""
    from studio.schema import Progress

    if sys.stderr.isatty() and isinstance(event, Progress):
        typer.echo(f"\rstep {event.step} of {event.of} ", err=True, nl=event.step == event.of)


def deliver(studio: Studio, image: str, out: Path | None) -> Path:
    """The picture's file: the library's own, or a copy in `out` named by seed and id."""
    row = studio.image(image)
    if out is None:
        return row.file
    out.mkdir(parents=True, exist_ok=True)
    copy = out / f"{row.seed}-{row.id[:8]}{row.file.suffix}"
    copy.write_bytes(row.file.read_bytes())
    return copy.resolve()
