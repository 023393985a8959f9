"""A studio that runs already, asked over HTTP: the command line then loads no model of its own."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from studio.errors import StudioError

TIMEOUT = 30.0  # s without a byte; a stream sends one every 10 s


class Refused(StudioError):
    """What the server said, in its own words."""

    def __init__(self, status: int, fault: Mapping[str, Any]) -> None:
        super().__init__(
            str(fault.get("message", "The server refused.")), hint=str(fault.get("hint", "")),
            field=fault.get("field"), code=str(fault.get("code", "refused")),
        )  # fmt: skip
        self.status = status


class NoServer(StudioError):
    code = "no_server"


def running(home: Path) -> str:
    """Address of the server that holds this home folder; '' when there is none."""
    try:
        with (home / "server.lock").open("r", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                host, _, port = lock.read(200).strip().rpartition(":")
                host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
                return f"http://{f'[{host}]' if host.count(':') > 1 and host[0] != '[' else host}:{port}"
    except OSError:
        pass
    return ""


class Server:
    """`address` such as http://127.0.0.1:7860. `STUDIO_KEY` is the API key, where one is needed."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        key = os.environ.get("STUDIO_KEY", "")
        self.headers = {"authorization": f"Bearer {key}"} if key else {}

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """The answer's JSON. Raises StudioError."""
        with self.open(method, path, body, kind) as answer:
            return json.load(answer)

    def open(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Any:
        headers = self.headers | ({"content-type": kind} if body is not None else {})
        request = urllib.request.Request(self.address + path, body, headers, method=method)
        # No proxy stands between this machine and its own server.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                raise refusal(error) from None
        except (OSError, HTTPException, ValueError) as error:
            raise NoServer(
                f"The studio at {self.address} does not answer ({type(error).__name__}).",
                hint="Start it with: studio serve. Or give --alone.",
            ) from None

    def upload(self, data: bytes) -> str:
        mark = secrets.token_hex(16)
        head = f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="picture"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
        return str(self.ask("POST", "/api/v1/uploads", body, f"multipart/form-data; boundary={mark}")["id"])

    def submit(self, request: Mapping[str, Any]) -> str:
        return str(self.ask("POST", "/api/v1/jobs", json.dumps(request).encode())["id"])

    def cancel(self, job: str) -> None:
        self.ask("DELETE", f"/api/v1/jobs/{job}")

    def events(self, job: str) -> Iterator[tuple[str, Any]]:
        """(name, data) of a job's events up to its last."""
        with self.open("GET", f"/api/v1/jobs/{job}/events") as stream:
            name = ""
            for raw in stream:
                key, _, value = raw.decode().rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)

    def picture(self, id: str) -> tuple[str, bytes]:
        """(ending of its file, the file)."""
        with self.open("GET", f"/api/v1/images/{id}/file") as answer:
            return str(answer.headers.get_content_subtype()), answer.read()


def refusal(error: urllib.error.HTTPError) -> Refused:
    try:
        fault = json.loads(error.read(2**16))["error"]
    except (ValueError, KeyError, TypeError):
        fault = {"message": f"The server answered {error.code}."}
    if error.code == 401:
        fault = {**fault, "hint": "Put a key (studio keys add) into STUDIO_KEY, or give --alone."}
    return Refused(error.code, fault)
