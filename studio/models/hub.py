"""Models from the hub: which files of a repository are wanted, and fetching them at one pinned commit.

huggingface_hub speaks to the server (its endpoint, token and redirects); partial files are kept and gone on
with here, which its own download no longer does (2.x starts a file anew each time).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import threading
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio.errors import BadRequest, DiskLow, Forbidden, NotFound, NotReady, StudioError, UnsafeFormat
from studio.models.folders import INDEX, NETWORKS, PARTS

ENDPOINT = "https://huggingface.co"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
ASKED = re.compile(rf"({NAME}/{NAME})(?:/([\w .()+/-]{{1,200}}\.safetensors))?(?:@({NAME}))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
PLAIN = re.compile(r"[^.]+\.safetensors|[^.]+-\d{5}-of-\d{5}\.safetensors")  # of no variant
NETWORK = re.compile(r"diffusion_pytorch_model[\w.-]*\.safetensors")
CHUNK = 2**20  # bytes
REACH = 1.5  # seconds within which the hub has to answer a knock
PATIENCE = 30.0  # seconds without a byte
TRIES = 5  # in a row without a byte more
SPARE = 2**28  # bytes that stay free on the disk
MAX_NOTE = 2**24  # bytes of a json or txt file: the largest vocabulary has 1 MB


@dataclass(frozen=True)
class Remote:
    """`size` in bytes. `sha256`: of large files; `blob`: git's SHA-1 of small ones."""

    name: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True)
class Plan:
    """What will be fetched. `file`: the lone .safetensors file among it, '' for a diffusers folder."""

    id: str
    revision: str
    files: tuple[Remote, ...]
    file: str

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Hub:
    endpoint: str = ENDPOINT
    token: str | None = None
    offline: bool = False

    @classmethod
    def from_environment(cls) -> Hub:
        """HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, as every tool of the hub has them."""
        offline = os.environ.get("HF_HUB_OFFLINE", "").strip().casefold() in {"1", "on", "yes", "true"}
        endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT
        return cls(endpoint, os.environ.get("HF_TOKEN", "").strip() or None, offline)

    def plan(self, asked: str) -> Plan:
        """`asked`: OWNER/NAME, OWNER/NAME/FILE.safetensors, either with @REVISION.

        Raises BadRequest (`bad_model_id`, `custom_code_refused`, `several_checkpoints`), UnsafeFormat,
        NotFound, Forbidden, NotReady (`hub_offline` within 2 s, `hub_busy`).
        """
        id, file, revision = parse_id(asked)
        self._knock()
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self.token or False)
        try:
            found = api.model_info(id, revision=revision, files_metadata=True, timeout=PATIENCE)
        except Exception as error:  # each layer below has its own; told apart by their HTTP status
            raise _explained(error, id) from error
        commit, siblings = found.sha or "", tuple(map(_remote, found.siblings or ()))
        if COMMIT.fullmatch(commit) is None:
            raise NotReady("The hub's answer names no commit.", hint="Try again later.", code="hub_answer")
        return Plan(id, commit, *_wanted(id, siblings, file))

    def fetch(self, plan: Plan, folder: Path) -> Generator[int]:
        """Yields bytes there so far; close it to stop. What is there goes on where it ended.

        Raises what `plan` does, DiskLow, and NotReady (`download_broken`) for bytes that are not the hub's.
        """
        folder.mkdir(parents=True, exist_ok=True)
        done = sum(_there(folder, file) for file in plan.files)
        free = shutil.disk_usage(folder).free
        if plan.size - done + SPARE > free:
            raise DiskLow(
                f"{plan.id} needs {(plan.size - done) / 2**30:.1f} GB more, {free / 2**30:.1f} GB are free.",
                hint="Delete models or pictures, or put STUDIO_HOME on a larger disk.",
            )
        before = 0
        for file in plan.files:
            for there in self._fetch_file(plan, file, folder):
                yield before + there
            before += file.size

    def _fetch_file(self, plan: Plan, file: Remote, folder: Path) -> Iterator[int]:
        target = folder / file.name
        if target.is_file() and target.stat().st_size == file.size:
            yield file.size
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        tries = 0
        while (there := _size(part)) < file.size:
            try:
                for there in self._stream(plan, file, part):
                    tries = 0
                    yield there
            except StudioError:
                raise
            except Exception as error:
                tries += 1
                if tries >= TRIES or _status(error):
                    raise _explained(error, plan.id) from error
            else:
                if _size(part) == there:
                    tries += 1
                if tries >= TRIES:
                    raise NotReady(
                        f"The hub ends {file.name} at {there} of {file.size} bytes.", code="hub_answer"
                    )
        _check(part, file)
        part.rename(target)

    def _stream(self, plan: Plan, file: Remote, part: Path) -> Iterator[int]:
        """One request for what is missing of `part`."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(plan.id, file.name, revision=plan.revision, endpoint=self.endpoint)
        headers = {**build_hf_headers(token=self.token or False), "Accept-Encoding": "identity"}
        if there := _size(part):
            headers["Range"] = f"bytes={there}-"
        with get_session().stream(
            "GET", url, headers=headers, timeout=PATIENCE, follow_redirects=True
        ) as response:
            hf_raise_for_status(response)
            fresh = response.status_code != 206  # the server begins at the first byte
            with part.open("wb" if fresh else "ab") as out:
                there = 0 if fresh else there
                for chunk in response.iter_bytes(CHUNK):
                    there += out.write(chunk)
                    if there > file.size:
                        raise NotReady(
                            f"{file.name} is longer than the {file.size} bytes the hub told.",
                            code="download_broken",
                        )
                    yield there
                out.flush()
                os.fsync(out.fileno())

    def _knock(self) -> None:
        """Raises NotReady (`hub_offline`) when nothing answers; looking a name up alone can take a minute."""
        if self.offline:
            raise _offline("HF_HUB_OFFLINE is set")
        host, port = _door(self.endpoint)
        answered = threading.Event()

        def knock() -> None:
            try:
                socket.create_connection((host, port), timeout=REACH).close()
                answered.set()
            except OSError:
                failed.set()

        failed = threading.Event()
        thread = threading.Thread(target=knock, name="knock", daemon=True)
        thread.start()
        thread.join(REACH)
        if not answered.is_set():
            raise _offline(f"{host} does not answer")


def parse_id(asked: str) -> tuple[str, str, str | None]:
    """(OWNER/NAME, file or '', revision). Raises BadRequest (`bad_model_id`)."""
    match = ASKED.fullmatch(asked)
    if match is None or ".." in asked or "--" in match[1] or "//" in asked:
        raise BadRequest(
            f"{asked[:80]!r} is no model of the hub.",
            hint="Write OWNER/NAME, or OWNER/NAME/FILE.safetensors for one file.",
            code="bad_model_id",
        )
    return match[1], match[2] or "", match[3]


def _wanted(id: str, siblings: tuple[Remote, ...], asked: str) -> tuple[tuple[Remote, ...], str]:
    """The files to fetch, and which of them is a one-file checkpoint."""
    by_name = {file.name: file for file in siblings}
    if asked:
        if asked not in by_name:
            raise NotFound(f"{id} has no file {asked}.", hint=_offer(by_name), code="hub_not_found")
        return (by_name[asked],), asked
    if INDEX not in by_name:
        return _single(id, by_name)
    scripts = [name for name in by_name if name.endswith(".py")]
    if scripts:
        raise BadRequest(
            f"{id} brings its own code ({scripts[0][:80]}); none is ever run.",
            hint="Use a model that needs only diffusers' own classes.",
            code="custom_code_refused",
        )
    files = [by_name[INDEX]]
    for part in PARTS:
        here = [file for file in siblings if file.name.rpartition("/")[0] == part]
        notes = [file for file in here if file.name.endswith((".json", ".txt")) and file.size <= MAX_NOTE]
        chosen = _weights([file for file in here if file.name.endswith(".safetensors")])
        if part in NETWORKS and here and not chosen:
            raise UnsafeFormat(
                f"{id} has its {part} only in formats that can run code when they are opened.",
                hint="Use a model with .safetensors weights.",
            )
        if chosen and ".fp16" in chosen[0].name:
            notes = [file for file in notes if "index" not in file.name or ".fp16" in file.name]
        files += [*notes, *chosen]
    return tuple(files), ""


def _weights(files: list[Remote]) -> list[Remote]:
    """Half precision where there is one: half the download, and what a GPU works in anyway."""
    halves = [file for file in files if ".fp16" in file.name]
    return halves or [file for file in files if PLAIN.fullmatch(file.name.rpartition("/")[2])]


def _single(id: str, by_name: dict[str, Remote]) -> tuple[tuple[Remote, ...], str]:
    """One network with its config, as ControlNets come, or one file."""
    network = [file for name, file in by_name.items() if NETWORK.fullmatch(name)]
    if "config.json" in by_name and network:
        return (by_name["config.json"], *_weights(network)), ""
    files = [file for name, file in by_name.items() if name.endswith(".safetensors") and "/" not in name]
    if len(files) == 1:
        return (files[0],), files[0].name
    if files:
        raise BadRequest(
            f"{id} holds {len(files)} checkpoints.", hint=_offer(by_name), code="several_checkpoints"
        )
    raise UnsafeFormat(
        f"{id} holds no model_index.json and no .safetensors file.",
        hint="Only diffusers folders and .safetensors checkpoints are read.",
    )


def _offer(by_name: dict[str, Remote]) -> str:
    names = sorted(name for name in by_name if name.endswith(".safetensors"))
    return f"Name one: {', '.join(names[:6])}." if names else "It has no .safetensors file."


def _remote(sibling: Any) -> Remote:
    large = sibling.lfs
    size = large.size if large else sibling.size
    name = sibling.rfilename
    if name.startswith(("/", "\\")) or ".." in name.split("/") or "\\" in name:
        raise NotReady("The hub names a file outside of its folder.", code="hub_answer")
    return Remote(name, int(size or 0), large.sha256 if large else "", sibling.blob_id or "")


def _check(part: Path, file: Remote) -> None:
    """Raises NotReady (`download_broken`) and drops the file when its bytes are not those the hub has."""
    with part.open("rb") as stream:
        if file.sha256:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        else:
            head = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
            head.update(stream.read())
            same = not file.blob or head.hexdigest() == file.blob
    if not same or part.stat().st_size != file.size:
        part.unlink()
        raise NotReady(
            f"{file.name} did not arrive as the hub has it: its hash differs.",
            hint="Pull again; the file is fetched anew.",
            code="download_broken",
        )


def _there(folder: Path, file: Remote) -> int:
    target = folder / file.name
    return min(file.size, max(_size(target), _size(target.with_name(target.name + ".part"))))


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _door(endpoint: str) -> tuple[str, int]:
    """Host and port of the hub, or of the proxy that leads there."""
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or {"https": 443}.get(parts.scheme, 80)


def _status(error: BaseException) -> int:
    """HTTP status of a refusal, 0 where the connection itself failed."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return status if isinstance(status, int) else 0


def _offline(why: str) -> NotReady:
    return NotReady(
        f"The model hub is out of reach: {why}.",
        hint="Installed models work as before; a folder or a .safetensors file can be added from disk.",
        code="hub_offline",
    )


def _explained(error: BaseException, id: str) -> StudioError:
    """A sentence for each way the hub says no."""
    status = _status(error)
    if status == 401:
        return NotFound(
            f"The hub shows no model {id} to us: it does not exist, or it is private.",
            hint="Check the name; for a private model set HF_TOKEN.",
            code="hub_unauthorized",
        )
    if status == 403:
        return Forbidden(
            f"The hub keeps {id} behind a licence that this token has not accepted.",
            hint="Accept it on the model's page, then set HF_TOKEN to a token of that account.",
            code="hub_gated",
        )
    if status == 404:
        return NotFound(
            f"The hub has no model {id}, or not that revision.", hint="Check the name.", code="hub_not_found"
        )
    if status == 429:
        return NotReady(
            "The hub asks for a pause: too many requests.", hint="Try again in some minutes.", code="hub_busy"
        )
    if status:
        return NotReady(f"The hub failed with status {status}.", hint="Try again later.", code="hub_failed")
    return _offline("the connection broke")
