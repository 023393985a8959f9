"""The verbs by name: a new verb is one file here and one row below."""

from __future__ import annotations

import json
import sys

import typer

from studio.cli.campaign import campaign
from studio.cli.check import check
from studio.cli.doctor import doctor
from studio.cli.generate import generate
from studio.cli.keys import keys
from studio.cli.kits import kits
from studio.cli.loras import loras
from studio.cli.models import models
from studio.cli.presets import presets
from studio.cli.replay import replay
from studio.cli.review import review
from studio.cli.serve import serve
from studio.cli.train import train
from studio.cli.users import users
from studio.cli.verify import verify
from studio.errors import StudioError

VERBS = (serve, generate, replay, campaign, train, presets, doctor, verify, check)
GROUPS = {"models": models, "loras": loras, "kits": kits, "users": users, "keys": keys, "review": review}

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Brand Studio: pictures in your brand's look.",
)  # fmt: skip
for verb in VERBS:
    app.command()(verb)
for name, group in GROUPS.items():
    app.add_typer(group, name=name)


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
