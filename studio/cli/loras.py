"""`studio loras`: the styles that are installed, and taking in more."""

from __future__ import annotations

from pathlib import Path

import typer

from studio.cli.models import taking_in
from studio.cli.rows import Json, Name, pick, show_rows

LORA_COLUMNS = ("name", "title", "base", "rank", "alpha", "trigger", "bytes", "problem")

loras = typer.Typer(help="Installed LoRA styles.", invoke_without_command=True)


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
    with taking_in() as models:
        row = models.add_lora(file, name)
    show_rows([pick(row, "name", "base", "rank", "trigger")], as_json, ("name", "base", "rank", "trigger"))
