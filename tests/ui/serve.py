"""The whole app in a process of its own, as users run it: `python serve.py HOME STEP`. Prints its address.

STEP: seconds a step takes with the executor that needs no model; 0 = the real worker process.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from studio.api.app import web
from studio.api.port import taken
from studio.api.server import configure
from studio.executors import FakeExecutor
from studio.settings import Settings
from studio.studio import Studio


def main(home: Path, step: float) -> None:
    from studio.ui import mount

    settings = Settings(home=home, port=0, host="127.0.0.1", rows=8)
    with (
        taken(settings) as listener,
        closing(Studio.open(settings, FakeExecutor(step) if step else None)) as studio,
    ):
        studio.start()
        app = web(studio, lambda: mount(FastAPI(openapi_url=None), studio))
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(configure(app)).run(sockets=[listener])


if __name__ == "__main__":  # the worker process imports this file too
    main(Path(sys.argv[1]), float(sys.argv[2]))
