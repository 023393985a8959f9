"""`studio models`: what is installed, and taking in more."""

from __future__ import annotations

from pathlib import Path

import typer

from studio.cli.rows import Json, Name, pick, show_rows

MODEL_COLUMNS = (
    "name", "label", "family", "size", "steps", "guidance", "scheduler", "controls", "bytes", "builtin",
)  # fmt: skip

models = typer.Typer(help="Installed models.", invoke_without_command=True)


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
