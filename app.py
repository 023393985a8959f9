"""Settings -> Studio -> web app with the page in it: the only wiring (`make run`, `studio serve`).

Nothing heavy above `main`: the worker process imports this file too.
"""

import os
import sys
from contextlib import closing
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def page(studio: Any) -> Any:
    from fastapi import FastAPI

    from studio.ui import mount

    return mount(FastAPI(openapi_url=None), studio)


def main() -> int:
    from studio.api import read_options, say, serve, taken, web
    from studio.errors import StudioError
    from studio.studio import Studio

    try:
        settings = read_options(sys.argv[1:])
        with taken(settings) as listener, closing(Studio.open(settings)) as studio:
            studio.start()  # the worker loads its model while the web process imports the page
            serve(web(studio, lambda: page(studio)), listener)
    except StudioError as error:
        return say(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
