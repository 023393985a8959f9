"""The studio's side: a nursery started once, a socket for each file, a refusal for what goes wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.errors import BadRequest, NotReady
from studio.sandbox import wire
from studio.settings import ROOT
from studio.uploads import Upload

START = "import sys; from studio.sandbox.child import main; main(int(sys.argv[1]))"
PATIENCE = 60.0  # s until a nursery that is started is there; a busy machine imports slowly
SLOWEST = 130.0  # s; the child's own alarm ends it before
AT_ONCE = 2  # files that are decoded; judging a head does not count
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")  # of the environment; no token is


class Sandbox:
    """Thread-safe. Starts its process when first needed, or at `start`, and again when it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """In the background: the first upload then waits no longer than the others."""
        threading.Thread(target=self._warm, name="sandbox", daemon=True).start()

    def _warm(self) -> None:
        with suppress(NotReady), self._lock:
            self._nursery()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None and self._control is not None:
            self._control.close()
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def clean(self, data: bytes, max_bytes: int, max_pixels: int) -> Upload:
        """As `uploads.clean`, elsewhere. Raises what it does, and BadRequest (`file_too_costly`)."""
        words = {"kind": "picture", "max_bytes": max_bytes, "max_pixels": max_pixels}
        with self._line() as line:
            said, kept = self._ask(line, words, data)
            if "judged" in said:
                with self._room:
                    said, kept = self._ask(line, {"go": True})
        width, height = int(said["width"]), int(said["height"])
        return Upload(kept, said["format"], width, height, bool(said["turned"]))

    def check_weights(self, file: Path, numbers: bool = True) -> None:
        """Raises what `read_header` does, for `numbers` `check_tensors`; BadRequest (`file_too_costly`)."""
        with self._room, self._line() as line:
            self._ask(line, {"kind": "weights", "path": str(file.resolve()), "numbers": numbers})

    def _ask(
        self, line: socket.socket, words: dict[str, Any], data: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        try:
            wire.send(line, words, data)
            said, more = wire.receive(line)
        except (OSError, wire.Hung):
            raise BadRequest(
                "The file could not be read within its limits of time and memory.",
                hint="Save it anew with another program, or smaller.",
                code="file_too_costly",
            ) from None
        if "error" in said:
            raise wire.as_error(said["error"])
        return said, more

    def _line(self) -> socket.socket:
        """To a fork of the nursery, made for one file. Raises NotReady."""
        ours, theirs = socket.socketpair()
        ours.settimeout(SLOWEST)
        with theirs, self._lock:
            try:
                try:
                    socket.send_fds(self._nursery(), [b"?"], [theirs.fileno()])
                except OSError:  # it was killed, by the kernel for memory perhaps: once more, with a new one
                    self._end()
                    socket.send_fds(self._nursery(), [b"?"], [theirs.fileno()])
            except (OSError, NotReady):
                ours.close()
                raise NotReady(
                    "The process that reads files does not start.", hint="The server's log says more."
                ) from None
        return ours

    def _nursery(self) -> socket.socket:
        """Its control line, once it is warm. Raises NotReady."""
        if self._process is not None and self._process.poll() is None and self._control is not None:
            return self._control
        self._end()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        with theirs:
            self._process = start(theirs)
        try:
            if self._control.recv(1) == b"!":
                return self._control
        except OSError:
            pass
        self._end()
        raise NotReady("The process that reads files does not start.")


def start(control: socket.socket) -> subprocess.Popen[bytes]:
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", START, str(control.fileno())], pass_fds=[control.fileno()], env=env, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
