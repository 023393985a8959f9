"""The port, taken before anything heavy is imported: a second studio learns of the first at once."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import socket
import sys
from collections.abc import Sequence
from contextlib import closing

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
            hint="Start without it. To show chosen pictures to a client: studio review share IMAGE_ID, or "
            "Share on the page's Library tab; that review room has nothing else in it, and its link ends.",
            code="no_share",
        )
    settings = read_settings(**asked)
    check_bind(settings)
    return settings


def check_bind(settings: Settings) -> None:
    """Raises CannotStart for an address that others can reach while nobody could sign in there."""
    if settings.insecure_lan or is_loopback(settings.host) or can_sign_in(settings):
        return
    raise CannotStart(
        f"{settings.host} can be reached by others, and nobody has an account here yet.",
        hint="Add a user: studio users add NAME. Or start it with HOST=127.0.0.1 and come through an SSH "
        "tunnel (ssh -L 7860:127.0.0.1:7860 HOST); or set STUDIO_INSECURE_LAN=1 to let everybody in.",
        code="not_loopback",
    )


def can_sign_in(settings: Settings) -> bool:
    # Imported here: on this machine alone, as it is mostly started, the port is taken half a second sooner.
    from studio.accounts import Accounts
    from studio.library import Database

    settings.home.mkdir(parents=True, exist_ok=True)
    with closing(Database(settings.home / "studio.db", settings.database_url)) as database:
        return Accounts(database).any()


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def taken(settings: Settings) -> socket.socket:
    """The bound socket; who connects waits in its backlog until `serve`. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is said: it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
