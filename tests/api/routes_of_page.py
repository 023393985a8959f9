"""Every route of the app as it is served, as JSON: `python routes_of_page.py HOME`.

In a process of its own: Gradio leaves an event loop open, which pytest would count as a fault of the test.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

Route = tuple[str, str]  # method, address with {}


def bare(template: str) -> str:
    return re.sub(r"\{\w+", "{", template)


def routes_of(routes: Iterable[Any], before: str = "") -> Iterator[Route]:
    """Every route, mounted apps and included routers opened."""
    for route in routes:
        if hasattr(route, "effective_route_contexts"):  # a router that FastAPI includes without unfolding it
            for inner in route.effective_route_contexts():
                yield from ((method, before + bare(inner.path)) for method in inner.methods or ())
        elif getattr(route, "routes", None):
            yield from routes_of(route.routes, before + route.path)
        else:
            yield from ((method, before + bare(route.path)) for method in route.methods or ())


def main(home: Path) -> None:
    from fastapi import FastAPI

    from studio.api.app import make_api
    from studio.api.page import Page
    from studio.api.sign_in import SignIn
    from studio.settings import Settings
    from studio.studio import Studio
    from studio.ui import mount

    with closing(Studio.open(Settings(home=home, executor="fake"))) as studio:
        page = mount(FastAPI(openapi_url=None), studio)
        ours = list(routes_of(make_api(studio, Page(None), SignIn(studio.accounts, studio.settings)).routes))
        sys.stdout.write(json.dumps({"ours": ours, "page": list(routes_of(page.routes))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
