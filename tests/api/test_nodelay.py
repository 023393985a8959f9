"""An answer leaves at once: with Nagle's algorithm its second half would wait 40 ms for the client's word."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from studio.api.port import taken
from studio.settings import Settings


def test_a_connection_does_not_hold_back_what_is_written(tmp_path: Path) -> None:
    found: asyncio.Future[int]

    class Look(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            line = transport.get_extra_info("socket")
            found.set_result(line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    async def connect() -> int:
        nonlocal found
        loop = asyncio.get_running_loop()
        found = loop.create_future()
        with taken(Settings(home=tmp_path, port=0)) as listener:
            server = await loop.create_server(Look, sock=listener)
            transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
            answer = await found
            transport.close()
            server.close()
        return answer

    assert asyncio.run(connect())
