"""Settings -> Studio -> web app with the page: the only wiring. Light at the top: workers import it too."""

import os
import sys
from contextlib import closing
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def page(studio: Any) -> Any:
    from fastapi import FastAPI

    from studio.api.server import settle
    from studio.ui import mount

    built = mount(FastAPI(openapi_url=None), studio)
    settle()
    return built


def main() -> int:
    from studio.api.porch import Porch
    from studio.api.port import read_options, say, taken
    from studio.errors import StudioError
    from studio.library.home import served_alone

    try:
        with (
            taken(settings := read_options(sys.argv[1:])) as listener,
            served_alone(settings.home, "{}:{}".format(*listener.getsockname()[:2])),
            closing(Porch(listener)) as porch,
        ):
            from studio.api import app, logs, server  # 2 s: the porch answers meanwhile
            from studio.studio import Studio

            logs.begin(settings.log)
            with closing(Studio.open(settings)) as studio:
                studio.start()  # the worker loads its model while the web process imports the page
                site = app.web(studio, lambda: page(studio))
                server.serve(site, listener, porch, studio.jobs.drain, settings.trusted_proxies)
                studio.jobs.close(server.LAST_PICTURE)
    except StudioError as error:
        return say(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
