"""The process that reads files from outside: a nursery that is warm, and one fork of it for each file.

The nursery has imported what reading takes, has given up what it does not need, and never sees a file. A fork
costs a millisecond or two, reads one file and ends; whatever a file does to it ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from studio import uploads
from studio.errors import BadRequest, StudioError
from studio.models.tensors import check_tensors
from studio.safetensors_header import read_header
from studio.sandbox import wire

MEMORY = 2**30  # bytes of address space beyond what the nursery has
CPU = {"picture": 10, "weights": 60}  # s of work
WALL = {"picture": 30.0, "weights": 120.0}  # s in all: a busy machine does 10 s of work in 30
NEWUSER, NEWNET, NO_NEW_PRIVS = 0x10000000, 0x40000000, 38  # of Linux


def main(control: int) -> None:
    """Serves `control`, a socket that hands over one socket for each file, until it closes."""
    Image.init()  # readers of pictures; otherwise each fork would import them anew
    give_up_rights()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the studio, which then closes the socket
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries forks that ended
    with socket.socket(fileno=control) as nursery:
        nursery.sendall(b"!")
        while True:
            word, lines, _, _ = socket.recv_fds(nursery, 1, 1)
            if not word:
                return
            for line in lines:
                if os.fork() == 0:
                    nursery.close()
                    look(line)
                os.close(line)


def give_up_rights() -> None:
    """No network, no new rights, no core dumps, nothing to write: as far as the system lets us."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.unshare(NEWUSER | NEWNET)
        libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    in_use = address_space()
    limits = {
        resource.RLIMIT_AS: in_use + MEMORY,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 32,
    }
    for name, limit in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(name, (limit, limit))


def address_space() -> int:
    """Bytes this process has mapped; 1 GiB where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError):
        return 2**30
    return pages * resource.getpagesize()


def look(number: int) -> None:
    """One file, then the end of this process, whatever happens."""
    status = 1
    try:
        with socket.socket(fileno=number) as line:
            words, data = wire.receive(line)
            begin(str(words["kind"]))
            try:
                wire.send(line, *done(line, words, data))
            except StudioError as error:
                wire.send(line, {"error": wire.as_words(error)})
            except MemoryError:
                wire.send(line, {"error": wire.as_words(too_much())})
            status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def begin(kind: str) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU[kind], CPU[kind]))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, WALL[kind])


def done(line: socket.socket, words: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """The answer. Raises what is wrong with the file."""
    if words["kind"] == "weights":
        header = read_header(Path(words["path"]))
        if words["numbers"]:
            check_tensors(Path(words["path"]), header)
        return {"tensors": len(header.tensors)}, b""
    picture = uploads.judge(data, words["max_bytes"], words["max_pixels"])
    wire.send(line, {"judged": True})  # what costs time and memory waits until the studio has room for it
    signal.setitimer(signal.ITIMER_REAL, 0)
    wire.receive(line)
    signal.setitimer(signal.ITIMER_REAL, WALL["picture"])
    kept = uploads.decode(picture)
    said = {"format": kept.format, "width": kept.width, "height": kept.height, "turned": kept.turned}
    return said, kept.data


def too_much() -> BadRequest:
    return BadRequest(
        f"Reading the file takes more than {MEMORY / 2**30:.0f} GiB of memory.",
        hint="Save it smaller.",
        code="file_too_costly",
    )
