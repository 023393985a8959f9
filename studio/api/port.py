"""The port, taken before anything heavy is imported: a second studio learns of the first at once."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import socket
import sys
from collections.abc import Sequence

from studio.errors import StudioError
from studio.settings import Settings, read_settings

BACKLOG = 256


class CannotStart(StudioError):
    code = "cannot_start"


def read_options(arguments: Sequence[str]) -> Settings:
    """From the environment, and over it the command line. Raises BadRequest, CannotStart."""
    parser = argparse.ArgumentParser(
        "app.py", description="Start the studio; all settings: STUDIO_* (README)."
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port of the page and the API (7860)")
    parser.add_argument("--share", action="store_true", help=argparse.SUPPRESS)
    asked = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if asked.pop("share"):
        raise CannotStart(
            "--share would hand the whole studio to everybody who has the link, so it does not exist here.",
            hint="Start without it. A review room for clients, with chosen pictures only, is to come.",
            code="no_share",
        )
    settings = read_settings(**asked)
    check_bind(settings)
    return settings


def check_bind(settings: Settings) -> None:
    """Raises CannotStart for an address that others can reach: nobody would ask them who they are."""
    if settings.insecure_lan or is_loopback(settings.host):
        return
    raise CannotStart(
        f"{settings.host} can be reached by others, and the studio has no sign-in yet.",
        hint="Start it with HOST=127.0.0.1 and come through an SSH tunnel (ssh -L 7860:127.0.0.1:7860 HOST) "
        "or a reverse proxy with authentication; or set STUDIO_INSECURE_LAN=1 to let everybody in.",
        code="not_loopback",
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def taken(settings: Settings) -> socket.socket:
    """The bound socket; who connects waits in its backlog until `serve`. Raises CannotStart."""
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise refusal(error, settings) from None
    return listener


def refusal(error: OSError, settings: Settings) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        return CannotStart(
            f"Port {settings.port} is taken, perhaps by another studio.",
            hint=f"See http://{settings.host}:{settings.port}, or start with PORT={settings.port + 1}.",
            code="port_taken",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return CannotStart(f"Port {settings.port} needs administrator rights.", hint="Start with PORT=7860.")
    return CannotStart(
        f"Cannot listen on {settings.host}: {error.strerror}.", hint="Start with HOST=127.0.0.1."
    )


def say(error: StudioError) -> int:
    """On the terminal, in the words of the page and the API. Returns the exit status."""
    sys.stderr.write(f"{error.message}\n{error.hint}\n" if error.hint else f"{error.message}\n")
    return 2
