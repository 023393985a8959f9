"""`studio serve`: the page and the API."""

from __future__ import annotations

import runpy
import sys
from typing import Annotated

import typer


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port of the page and the API.")] = 0,
) -> None:
    """Start the page and the API."""
    from studio.settings import ROOT

    options = [*(("--host", host) if host else ()), *(("--port", str(port)) if port else ())]
    sys.argv = ["app.py", *options]
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
