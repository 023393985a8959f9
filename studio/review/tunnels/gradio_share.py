"""Gradio's share tunnel: its client program, started for the room's port alone.

Gradio itself checks that program only right after its download; here every start reads it whole first, and
what is started is the bytes that were checked. Source of addresses, arguments and hashes: gradio 6.31,
networking.py and tunneling.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import queue
import re
import secrets
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.errors import StudioError

VERSION = "0.3"
DIRECTORY = "https://api.gradio.app/v3/tunnel-request"
DOWNLOADS = f"https://cdn-media.huggingface.co/frpc-gradio-{VERSION}"
PATIENCE = 30.0  # seconds for each of: directory, download, the tunnel itself
LARGEST = 64 * 2**20  # bytes of the program; it has 11 MB
OTHER_WAYS = "Use an SSH tunnel (STUDIO_REVIEW_SSH), the address in your own network, or the offline package."
SUCCESS = re.compile(r"start proxy success: (https?://[A-Za-z0-9.:-]+)/?\s*$")

CHECKSUMS: Mapping[str, str] = {
    "darwin_amd64": "930f8face3365810ce16689da81b7d1941fda4466225a7bbcbced9a2916a6e15",
    "darwin_arm64": "dfac50c690aca459ed5158fad8bfbe99f9282baf4166cf7c410a6673fbc1f327",
    "linux_amd64": "c791d1f047b41ff5885772fc4bf20b797c6059bbd82abb9e31de15e55d6a57c4",
    "linux_arm": "4b563beb2e36c448cc688174e20b53af38dc1ff2b5e362d4ddd1401f2affbfb7",
    "linux_arm64": "823ced25104de6dc3c9f4798dbb43f20e681207279e6ab89c40e2176ccbf70cd",
}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class TunnelFailed(StudioError):
    status = 502
    code = "tunnel_failed"


Fetch = Callable[[str], bytes]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return bytes(answer.read(LARGEST))


class GradioShare:
    """`cache`: folder where the program is kept between starts."""

    def __init__(self, cache: Path, checksums: Mapping[str, str] = CHECKSUMS, fetch: Fetch = fetch) -> None:
        self._cache, self._checksums, self._fetch = cache, checksums, fetch
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def open(self, port: int) -> str:
        program = self._program()
        server = self._server()
        self._folder = tempfile.TemporaryDirectory(prefix="review-tunnel-")
        folder = Path(self._folder.name)
        # The checked bytes, in a folder nobody else may write: between check and start nothing can change.
        executable = folder / "frpc"
        executable.write_bytes(program)
        executable.chmod(0o500)
        command = [
            str(executable), "http", "-n", secrets.token_urlsafe(32), "-l", str(port), "-i", "127.0.0.1",
            "--uc", "--sd", "random", "--ue", "--server_addr", f"{server['host']}:{int(server['port'])}",
            "--disable_log_color",
        ]  # fmt: skip
        if server.get("root_ca"):
            certificate = folder / "ca.pem"
            certificate.write_text(str(server["root_ca"]), encoding="ascii")
            command += ["--tls_enable", "--tls_trusted_ca_file", str(certificate)]
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE") if name in os.environ
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
        try:
            return self._address(self._process)
        except BaseException:
            self.close()
            raise

    def broken(self) -> StudioError | None:
        if self._process is None or self._process.poll() is None:
            return None
        return TunnelFailed(
            "The share tunnel ended by itself.", hint="It is opened again; or " + lower(OTHER_WAYS)
        )

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _program(self) -> bytes:
        """The client program, from the cache or the internet. Raises TunnelFailed for any other bytes."""
        machine = platform.machine().lower()
        kind = f"{platform.system().lower()}_{MACHINES.get(machine, machine)}"
        wanted = self._checksums.get(kind)
        if wanted is None:
            raise TunnelFailed(f"Gradio has no tunnel program for {kind}.", hint=OTHER_WAYS)
        file = self._cache / f"frpc_{kind}_v{VERSION}"
        if file.is_file():
            program = file.read_bytes()
        else:
            program = self._ask(f"{DOWNLOADS}/frpc_{kind}", "The tunnel program cannot be fetched")
        if hashlib.sha256(program).hexdigest() != wanted:
            file.unlink(missing_ok=True)
            raise TunnelFailed(
                "The tunnel program is not the one Gradio published: its SHA-256 differs. Not started.",
                hint="It was removed; try once more. " + OTHER_WAYS,
                code="tunnel_checksum",
            )
        if not file.is_file():
            self._cache.mkdir(parents=True, exist_ok=True)
            rough = file.with_suffix(f".{secrets.token_hex(4)}")
            rough.write_bytes(program)
            rough.rename(file)
        return program

    def _server(self) -> Mapping[str, Any]:
        answer = self._ask(DIRECTORY, "Gradio's share servers cannot be reached")
        try:
            found = json.loads(answer)[0]
            return {
                "host": str(found["host"]),
                "port": int(found["port"]),
                "root_ca": found.get("root_ca", ""),
            }
        except (ValueError, LookupError, TypeError, AttributeError):
            raise TunnelFailed("Gradio's share servers gave no usable answer.", hint=OTHER_WAYS) from None

    def _ask(self, url: str, problem: str) -> bytes:
        try:
            return self._fetch(url)
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise TunnelFailed(
                f"{problem}: {getattr(reason, 'strerror', None) or 'no connection'}.", hint=OTHER_WAYS
            ) from None

    def _address(self, process: subprocess.Popen[str]) -> str:
        """Read from what the program says; a thread goes on reading so that it never blocks on its pipe."""
        said: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_listen, args=(process, said), daemon=True).start()
        until, last = time.monotonic() + PATIENCE, ""
        while True:
            with contextlib.suppress(queue.Empty):
                line = said.get(timeout=max(0.0, until - time.monotonic()))
                if line is None:
                    break
                last = line.strip() or last
                if found := SUCCESS.search(line):
                    return found[1]
                if "login to server failed" not in line:
                    continue
            break
        raise TunnelFailed(
            f"The share tunnel did not open: {last[-160:] or 'it said nothing'}", hint=OTHER_WAYS
        )


def _listen(process: subprocess.Popen[str], said: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            said.put(line)
    said.put(None)


def lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
