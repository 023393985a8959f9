"""The command line: the same verbs as the page and the API.

Heavy imports wait inside the verbs, so that `studio --help` answers at once. Errors: the sentence and what to
do on stderr; status 2 for a bad request, 1 for a run that failed, 130 after Ctrl+C.
"""

from __future__ import annotations

import json
import runpy
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.errors import BadRequest, EngineError, StudioError, UnsupportedImage

if TYPE_CHECKING:
    from studio.schema import Event, JobView
    from studio.studio import Studio

MODEL_COLUMNS = (
    "name", "label", "family", "size", "steps", "guidance", "scheduler", "controls", "bytes", "builtin",
)  # fmt: skip
LORA_COLUMNS = ("name", "title", "base", "rank", "alpha", "trigger", "bytes", "problem")
MARKS = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str | None, typer.Option("--name", help="Name to pick it by; default: the file's.")]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Brand Studio: pictures in your brand's look.",
)  # fmt: skip
models = typer.Typer(help="Installed models.", invoke_without_command=True)
loras = typer.Typer(help="Installed LoRA styles.", invoke_without_command=True)
app.add_typer(models, name="models")
app.add_typer(loras, name="loras")


def main() -> None:
    """Entry point of `studio`."""
    try:
        app()
    except StudioError as error:
        raise SystemExit(tell(error, "--json" in sys.argv)) from None


def tell(error: StudioError, as_json: bool) -> int:
    """Says what is wrong on stderr. Returns the exit status."""
    if as_json:
        typer.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False), err=True)
    else:
        typer.echo("\n".join(filter(None, (error.message, error.hint))), err=True)
    return 2 if error.status < 500 else 1


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port of the page and the API.")] = 0,
) -> None:
    """Start the page and the API."""
    from studio.settings import ROOT

    options = [*(("--host", host) if host else ()), *(("--port", str(port)) if port else ())]
    sys.argv = ["app.py", *options]
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")


@app.command()
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
    from studio.schema import Failed, Picture

    try:
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
            else:
                show(event)
    except KeyboardInterrupt:
        studio.cancel(job.id)
        typer.echo("Cancelled.", err=True)
        raise SystemExit(130) from None


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


@models.callback()
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """Without a verb: the list."""
    if context.invoked_subcommand is None:
        print_models(as_json)


@models.command("list")
def print_models(as_json: Json = False) -> None:
    """Name, family, native size, weight."""
    from studio.models import Models
    from studio.settings import read_settings

    found = Models(read_settings())
    rows = [pick(row, *MODEL_COLUMNS) for row in found.list()]
    show_rows(rows, as_json, ("name", "family", "size", "bytes"))
    for name, problem in found.problems().items():
        typer.echo(f"{name}: {problem.message} {problem.hint}", err=True)


@models.command("add")
def add_model(path: Path, name: Name = None, as_json: Json = False) -> None:
    """Take in a model: a folder in the diffusers layout with .safetensors weights."""
    from studio.models import Models
    from studio.settings import read_settings

    row = Models(read_settings()).add_model(path, name)
    show_rows([pick(row, "name", "family", "size", "bytes")], as_json, ("name", "family", "size", "bytes"))


@loras.callback()
def list_loras(context: typer.Context, as_json: Json = False) -> None:
    """Without a verb: the list."""
    if context.invoked_subcommand is None:
        print_loras(as_json)


@loras.command("list")
def print_loras(as_json: Json = False) -> None:
    """Name, base family, rank, trigger words; what cannot be used says why."""
    from studio.models import Models
    from studio.settings import read_settings

    rows = [pick(row, *LORA_COLUMNS) for row in Models(read_settings()).loras()]
    show_rows(rows, as_json, ("name", "base", "rank", "trigger", "problem"))


@loras.command("add")
def add_lora(file: Path, name: Name = None, as_json: Json = False) -> None:
    """Take in a LoRA: a .safetensors file."""
    from studio.models import Models
    from studio.settings import read_settings

    row = Models(read_settings()).add_lora(file, name)
    show_rows([pick(row, "name", "base", "rank", "trigger")], as_json, ("name", "base", "rank", "trigger"))


@app.command()
def presets(as_json: Json = False) -> None:
    """Brand presets."""
    from studio.presets import Presets
    from studio.settings import read_settings

    found = Presets(read_settings().presets_dirs)
    rows = [
        {
            "name": row.name,
            "title": dict(row.title),
            "description": dict(row.description),
            "locked": list(row.locked),
        }
        for row in found.list()
    ]
    show_rows(rows, as_json, ("name", "title", "locked"))
    for name, problem in found.problems().items():
        typer.echo(f"{name}: {problem.message} {problem.hint}", err=True)


@app.command()
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


def pick(row: object, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def show_rows(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    """One JSON list, or one line a row."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        cells = [cell(row[name]) for name in columns]
        typer.echo("  ".join(f"{text:<16}" for text in cells).rstrip())


def cell(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("en", ""))
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


if __name__ == "__main__":
    main()
