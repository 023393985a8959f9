"""A server that speaks the hub's routes over files of a test: model info, and files by commit with ranges."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`refuse`: status of every answer, 0 = none. `cut`: bytes after which the next answer breaks off.

    `asked`: (path, Range) of every request. `tokens`: what they were signed with.
    """

    repos: dict[str, Path]
    url: str = ""
    refuse: int = 0
    cut: int = 0
    spoilt: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[Hub]:
    hub = Hub(repos)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((path, self.headers.get("Range", "")))
            hub.tokens.append(self.headers.get("Authorization", ""))
            if hub.refuse:
                self._send(hub.refuse, b"no")
            elif path.startswith("/api/models/"):
                self._info(path.removeprefix("/api/models/"))
            elif "/resolve/" in path and not path.startswith("/cdn/"):
                self.send_response(302)  # as the hub sends large files: from another address
                self.send_header("Location", f"{hub.url}/cdn{path}")
                self.end_headers()
            elif path.startswith("/cdn/"):
                self._file(path.removeprefix("/cdn/"))

        def _info(self, asked: str) -> None:
            id, _, revision = asked.partition("/revision/")
            if id not in hub.repos or revision not in ("", "main", COMMIT):
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
                return
            root = hub.repos[id]
            files = [_sibling(root, file) for file in sorted(root.rglob("*")) if file.is_file()]
            body = {"id": id, "modelId": id, "sha": COMMIT, "private": False, "siblings": files, "tags": []}
            self._send(200, json.dumps(body).encode())

        def _file(self, path: str) -> None:
            id, _, rest = path.partition("/resolve/")
            data = (hub.repos[id] / rest.removeprefix(f"{COMMIT}/")).read_bytes()
            if hub.spoilt and rest.endswith(hub.spoilt):
                data = b"\x01" + data[1:]
            begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(data) - begin))
            self.end_headers()
            piece = data[begin:]
            if hub.cut and len(piece) > hub.cut:
                piece, hub.cut = piece[: hub.cut], 0
                self.close_connection = True
            self.wfile.write(piece)

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _sibling(root: Path, file: Path) -> dict[str, object]:
    data = file.read_bytes()
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    row: dict[str, object] = {"rfilename": str(file.relative_to(root)), "size": len(data), "blobId": blob}
    if file.suffix == ".safetensors":
        row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return row
