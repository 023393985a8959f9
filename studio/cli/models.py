"""`studio models`: what is installed, taking in more, checking and removing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studio.cli.rows import Json, Name, pick, show_rows

if TYPE_CHECKING:
    from collections.abc import Generator

    from studio.models import Added, Models

MODEL_COLUMNS = (
    "name", "label", "family", "size", "steps", "guidance", "scheduler", "controls", "bytes", "builtin",
    "distilled", "refines", "prediction", "source", "revision", "hash",
)  # fmt: skip
ADDED = {  # class of the row -> what it is called, and what is told of it
    "ModelRow": ("model", ("name", "family", "size", "bytes", "source", "revision", "hash")),
    "ControlRow": ("ControlNet", ("name", "control", "fits", "bytes", "source", "revision", "hash")),
    "LoraRow": ("LoRA", ("name", "base", "rank", "bytes", "trigger")),
}
SHOWN = ("name", "family", "size", "bytes")
CHECKED = ("name", "file", "state", "sha256")

Control = Annotated[
    str | None, typer.Option("--control", help="What a ControlNet reads, if its name does not tell: canny.")
]

models = typer.Typer(help="Installed models.", invoke_without_command=True)


@models.callback()
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """Without a verb: the list."""
    if context.invoked_subcommand is None:
        print_models(as_json)


@models.command("list")
def print_models(as_json: Json = False) -> None:
    """Name, family, native size, weight; which one is the default."""
    found = installed()
    chosen = found.default()
    rows = [{**pick(row, *MODEL_COLUMNS), "default": row.name == chosen} for row in found.list()]
    if not as_json:
        rows = [row | {"default": "default" if row["default"] else ""} for row in rows]
    show_rows(rows, as_json, (*SHOWN, "default"))
    for name, problem in found.problems().items():
        typer.echo(f"{name}: {problem.message} {problem.hint}", err=True)


@models.command("controls")
def print_controls(as_json: Json = False) -> None:
    """The ControlNets that were taken in, and the models that use each."""
    _, columns = ADDED["ControlRow"]
    rows = [pick(row, *columns) for row in installed().controls.list()]
    show_rows(rows, as_json, columns[:4])


@models.command("add")
def add_model(source: str, name: Name = None, control: Control = None, as_json: Json = False) -> None:
    """Take in a model, ControlNet or LoRA: a folder, one .safetensors file, or OWNER/NAME of the hub."""
    from studio.models import add
    from studio.models.hub import ASKED

    path = Path(source).expanduser()
    if not path.exists() and ASKED.fullmatch(source):
        pull_model(source, name, control, as_json)
        return
    with taking_in() as found:
        show_added(add(found, path, name, control), as_json)


@models.command("pull")
def pull_model(id: str, name: Name = None, control: Control = None, as_json: Json = False) -> None:
    """Fetch a model, ControlNet or LoRA: OWNER/NAME, OWNER/NAME/FILE.safetensors, either with @REVISION.

    Begun downloads go on where they ended. HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are minded.
    """
    from studio.models.hub import Hub
    from studio.models.pulls import name_of, pull

    hub = Hub.from_environment()
    plan = hub.plan(id)
    with taking_in() as found:
        try:
            row = watch(pull(found, hub, plan, name or name_of(plan), control), plan.size)
        except KeyboardInterrupt:
            typer.echo("\nStopped; the same command goes on from here.", err=True)
            raise SystemExit(130) from None
    show_added(row, as_json)


@models.command("remove")
def remove_model(name: str) -> None:
    """Delete the files of a model or ControlNet."""
    installed().remove(name)


@models.command("default")
def choose_model(name: str) -> None:
    """Make a model the one that requests get when they name none."""
    installed().make_default(name)


@models.command("check")
def check_models(name: str | None = typer.Argument(None), as_json: Json = False) -> None:
    """Read every byte of the weights and compare with the hashes noted when they came.

    Status 1 when a file changed or a model cannot be used.
    """
    found = installed()
    names = [name] if name else [row.name for row in found.list()]
    names += [] if name else [row.name for row in found.controls.list()]
    rows = []
    for each in names:
        digests = found.hashes.files(found.folder(each))
        for file, state in found.check(each).items():
            rows.append({"name": each, "file": file, "state": state, "sha256": digests[file]})
    show_rows(rows, as_json, CHECKED)
    problems = {} if name else found.problems()
    for other, problem in problems.items():
        typer.echo(f"{other}: {problem.message} {problem.hint}", err=True)
    if problems or any(row["state"] == "changed" for row in rows):
        raise SystemExit(1)


@contextmanager
def taking_in() -> Iterator[Models]:
    """New weights are read by a process that may little, before this one does."""
    from studio.models import Models
    from studio.sandbox import Sandbox
    from studio.settings import read_settings

    with closing(Sandbox()) as sandbox:
        yield Models(read_settings(), sandbox.check_weights)


def installed() -> Models:
    from studio.models import Models
    from studio.settings import read_settings

    return Models(read_settings())


def show_added(row: Added, as_json: bool) -> None:
    kind, columns = ADDED[type(row).__name__]
    show_rows([{"kind": kind, **pick(row, *columns)}], as_json, ("name", "kind", *columns[1:4]))


def watch(parts: Generator[int, None, Added], of: int) -> Added:
    """Progress on a terminal, one line that is written over. `of`: bytes in all."""
    with closing(parts):
        while True:
            try:
                done = next(parts)
            except StopIteration as end:
                added: Added = end.value
                return added
            if sys.stderr.isatty():
                typer.echo(f"\r{done / 2**20:.0f} of {of / 2**20:.0f} MiB ", err=True, nl=done >= of)
