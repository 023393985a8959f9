"""`studio presets`: the brands."""

from __future__ import annotations

import typer

from studio.cli.rows import Json, show_rows


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
            "palette": dict(row.palette),
            "roles": dict(row.roles),
            "fonts": dict(row.fonts),
            "sizes": {channel: f"{width}x{height}" for channel, (width, height) in row.sizes.items()},
            "samples": list(row.samples),
            "policies": row.policies.told(),
        }
        for row in found.list()
    ]
    show_rows(rows, as_json, ("name", "title", "locked"))
    for name, problem in found.problems().items():
        typer.echo(f"{name}: {problem.message} {problem.hint}", err=True)
