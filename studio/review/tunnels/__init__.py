"""How a room is reached from elsewhere. Only the room's port is ever given to a tunnel.

`gradio`: Gradio's public share servers, no set-up, best effort. `ssh`: a port on a server of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from studio.errors import StudioError


class Tunnel(Protocol):
    """Carries one port of this machine to a public address, from `open` until `close`."""

    def open(self, port: int) -> str:
        """The public address. Blocks while it connects. Raises StudioError: why not, and what to do."""

    def broken(self) -> StudioError | None:
        """What ended an open tunnel, or None while it holds."""

    def close(self) -> None:
        """Idempotent."""


@dataclass(frozen=True)
class TunnelSettings:
    """`ssh`: USER@HOST[:PORT], '' = none. `ssh_port`: on that server. `ssh_url`: how clients reach it.

    `known_hosts`: file with the server's key, '' = the user's own. `cache`: where executables are kept.
    """

    cache: Path
    ssh: str = ""
    ssh_port: int = 7870
    ssh_url: str = ""
    ssh_key: str = ""
    known_hosts: str = ""


def gradio(settings: TunnelSettings) -> Tunnel:
    from studio.review.tunnels.gradio_share import GradioShare

    return GradioShare(settings.cache)


def ssh(settings: TunnelSettings) -> Tunnel:
    from studio.review.tunnels.ssh import SshReverse  # asyncssh: half a second that few need

    return SshReverse(
        settings.ssh, settings.ssh_port, settings.ssh_url, settings.ssh_key, settings.known_hosts
    )


TUNNELS: Mapping[str, Callable[[TunnelSettings], Tunnel]] = {"gradio": gradio, "ssh": ssh}
