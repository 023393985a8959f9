"""An SSH server for the tests: one key may come in, and forward ports, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh


class OnlyForwards(asyncssh.SSHServer):
    def __init__(self, open: set[asyncssh.SSHServerConnection]) -> None:
        self._open = open

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._open.add(connection)

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return True


@dataclass
class Server:
    """On loopback. `stop` and `start` again: the same port and key, as after a restart of the machine."""

    folder: Path
    port: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _acceptor: asyncssh.SSHAcceptor | None = None
    _open: set[asyncssh.SSHServerConnection] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        client = asyncssh.generate_private_key("ssh-ed25519")
        self.key = self.folder / "client_key"
        client.write_private_key(self.key)
        self._allowed = self.folder / "authorized_keys"
        client.write_public_key(self._allowed)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def known_hosts(self) -> Path:
        file = self.folder / "known_hosts"
        public = self._host_key.export_public_key().decode()
        file.write_text(f"[127.0.0.1]:{self.port} {public}")
        return file

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)

    async def _start(self) -> None:
        self._acceptor = await asyncssh.listen(
            "127.0.0.1", self.port, server_host_keys=[self._host_key],
            server_factory=lambda: OnlyForwards(self._open),
            authorized_client_keys=str(self._allowed), reuse_address=True,
        )  # fmt: skip
        self.port = self._acceptor.get_port()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)

    async def _stop(self) -> None:
        if self._acceptor is not None:
            acceptor, self._acceptor = self._acceptor, None
            acceptor.close()
            await acceptor.wait_closed()
        for connection in self._open:
            connection.abort()
        for connection in self._open:
            await connection.wait_closed()
        self._open.clear()
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            transport.abort()  # visits under way: asyncssh leaves them to the garbage collector
        await asyncio.sleep(0.1)  # sockets that were told to close do so

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    server.start()
    try:
        yield server
    finally:
        server.close()
