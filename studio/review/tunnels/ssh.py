"""SSH reverse forwarding: a port of one's own server leads to the room, and to nothing else here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import asyncssh

from studio.errors import BadRequest, StudioError

PATIENCE = 15.0  # seconds to connect and to get the port
FAREWELL = 0.1  # seconds in which sockets that were told to close do so
ALIVE = 5.0  # seconds between two signs of life; three missing ones and the tunnel counts as broken


class SshFailed(StudioError):
    status = 502
    code = "tunnel_failed"


class SshReverse:
    """`target`: USER@HOST[:PORT]. `port`: on that server, 0 = one it picks. `url`: how clients reach it.

    The server's key must be in `known_hosts` (else the user's own file): none is trusted at first sight.
    """

    def __init__(self, target: str, port: int, url: str, key: str = "", known_hosts: str = "") -> None:
        self._target, self._port, self._url = target, port, url
        self._key, self._known_hosts = key, known_hosts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._ended: str | None = None

    def open(self, port: int) -> str:
        user, host, ssh_port = parted(self._target)
        loop = self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(loop,), name="review-tunnel", daemon=True).start()
        try:
            there = self._do(self._connect(user, host, ssh_port, port))
        except (OSError, asyncssh.Error, TimeoutError) as error:
            self.close()
            raise SshFailed(
                f"The SSH tunnel to {host} did not open: {reason_of(error)}.", hint=hint_of(error)
            ) from None
        except BaseException:
            self.close()
            raise
        return self._url or f"http://{host}:{there}"

    def _do(self, work: Any) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, PATIENCE), self._loop).result(
            PATIENCE + 5
        )

    async def _connect(self, user: str, host: str, ssh_port: int, port: int) -> int:
        options: dict[str, Any] = {"username": user} if user else {}
        if self._key:
            options["client_keys"] = [self._key]
        known = Path(self._known_hosts) if self._known_hosts else Path.home() / ".ssh" / "known_hosts"
        if not known.is_file():
            raise SshFailed(
                "No file of known SSH hosts, so the server cannot be told from another.",
                hint=f"Run once: ssh-keyscan {host} >> ~/.ssh/known_hosts, and compare the key.",
            )
        self._connection = await asyncssh.connect(
            host, ssh_port, known_hosts=str(known), keepalive_interval=ALIVE, keepalive_count_max=3,
            connect_timeout=PATIENCE, config=None, **options,
        )  # fmt: skip
        listener = await self._connection.forward_remote_port("", self._port, "127.0.0.1", port)
        self._watch = asyncio.ensure_future(self._wait(self._connection))
        return int(listener.get_port())

    async def _wait(self, connection: asyncssh.SSHClientConnection) -> None:
        await connection.wait_closed()
        self._ended = "the server closed the connection"

    def broken(self) -> StudioError | None:
        if self._ended is None:
            return None
        return SshFailed(f"The SSH tunnel broke: {self._ended}.", hint="It is opened again by itself.")

    def close(self) -> None:
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(Exception):  # a connection that is gone already is closed
            asyncio.run_coroutine_threadsafe(self._leave(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)

    async def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            await asyncio.wait_for(self._connection.wait_closed(), 3)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    with contextlib.closing(loop):
        loop.run_forever()
        loop.run_until_complete(_end())


async def _end() -> None:
    """Nothing of the loop is left under way."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    # Visits under way through a tunnel that closes: asyncssh leaves their sockets to the garbage collector.
    for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(FAREWELL)


def parted(target: str) -> tuple[str, str, int]:
    """(user or '', host, port) of USER@HOST:PORT. Raises BadRequest."""
    if not target:
        raise BadRequest(
            "No SSH server is set.",
            hint="Set STUDIO_REVIEW_SSH=user@server and start again; docs/review.md has an example.",
            code="no_ssh_server",
        )
    user, _, place = target.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon:
        host, port = place, "22"
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadRequest(f"{target!r} is no SSH server.", hint="Write user@server or user@server:22.")
    return user, host.strip("[]"), int(port)


def reason_of(error: Exception) -> str:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return "its key is not among the known hosts"
    if isinstance(error, asyncssh.PermissionDenied):
        return "it does not accept this user's key"
    if isinstance(error, asyncssh.ChannelListenError):
        return "the port there is taken or not allowed"
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE:.0f} s"
    if isinstance(error, asyncssh.Error):
        return error.reason.rstrip(".").lower() or "the SSH connection failed"
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if number and number > 0 else "the name or the network is not there"


def hint_of(error: Exception) -> str:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return "Compare the server's key and add it with ssh-keyscan to the known hosts."
    if isinstance(error, asyncssh.PermissionDenied):
        return "Put this user's public key into the server's authorized_keys, or set STUDIO_REVIEW_SSH_KEY."
    if isinstance(error, asyncssh.ChannelListenError):
        return "Choose another STUDIO_REVIEW_SSH_PORT; to be seen from outside the server needs GatewayPorts."
    return "It is tried again by itself. Check STUDIO_REVIEW_SSH."
