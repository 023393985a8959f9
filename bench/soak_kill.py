"""Kills the server again and again and counts what was lost, doubled or half-written. All figures must be 0.

    python bench/soak_kill.py            # the long form: 200 kills, 50 in mid-batch, 20 full disks
    python bench/soak_kill.py --kills 3 --batches 2 --full 1
    python bench/soak_kill.py --kills 5 --without commit    # a guard taken out: must end with an error

The pictures are the fake executor's: real queue, library, web server and disk. Every second kill in
mid-batch is one of the worker process, which in a studio holds the model. Full disks need Linux's `unshare`
and a kernel that lets a user mount a tmpfs of his own; where it does not, they are left out.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from PIL import Image
from soak_server import GUARDS, get, prepare, server, wait_until_idle

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 20
DISK = 48  # MiB of the disk that is filled


@dataclass
class Client:
    """What one client asked for and what it was told."""

    number: int
    count: int = 2
    sent: list[str] = field(default_factory=list)  # keys, each also the job's prompt
    acknowledged: dict[str, str] = field(default_factory=dict)  # key -> job

    def post(self, port: int, key: str, connection: http.client.HTTPConnection | None = None) -> bool:
        """True when the server said that it has the job."""
        line = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        asked = {
            "prompt": key, "width": 64, "height": 64, "steps": 2, "count": self.count, "seed": 1,
            "force": True,
        }  # fmt: skip
        headers = {"content-type": "application/json", "idempotency-key": key}
        try:
            line.request("POST", "/api/v1/jobs", json.dumps(asked), headers)
            answer = line.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        if answer.status == 202:
            self.acknowledged[key] = json.loads(said)["id"]
        return answer.status == 202

    def work(self, port: int, until: threading.Event) -> None:
        """One job after the other, each asked for again until the server says that it has it."""
        while not until.is_set():
            if not self.unanswered():
                self.sent.append(f"c{self.number}-{len(self.sent)}")
            if not self.post(port, self.sent[-1]):
                time.sleep(0.1)
            time.sleep(random.uniform(0, 0.3))

    def unanswered(self) -> list[str]:
        return [key for key in self.sent if key not in self.acknowledged]

    def ask_again(self, port: int) -> None:
        """What was sent and not answered, with the same key: it may be there already."""
        until = time.monotonic() + 120
        for key in self.unanswered():
            while not self.post(port, key) and time.monotonic() < until:
                time.sleep(0.2)


def kills(home: Path, rounds: int, without: str) -> Counter[str]:
    """kill -9 at a random moment while twenty clients post."""
    clients = [Client(number) for number in range(CLIENTS)]
    for _ in range(rounds):
        with server(home, without) as (process, port):
            until = threading.Event()
            threads = [threading.Thread(target=one.work, args=(port, until)) for one in clients]
            for thread in threads:
                thread.start()
            time.sleep(random.uniform(0.1, 1.0))
            process.kill()
            process.join()
            until.set()
            for thread in threads:
                thread.join()
    with server(home, without) as (_, port):
        threads = [threading.Thread(target=one.ask_again, args=(port,)) for one in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until_idle(port, 3 if without else 600)
    return audit(home, clients)


def batches(home: Path, rounds: int, without: str) -> Counter[str]:
    """kill -9 of the server or of its worker while sixteen pictures of one job come one after the other."""
    client = Client(0, count=16)
    for number in range(rounds):
        with server(home, without, executor="worker:0.01") as (process, port):
            key = f"batch-{number}"
            client.sent.append(key)
            assert client.post(port, key), "the server took no job in"
            at, until = random.randint(1, 14), time.monotonic() + 60
            while len(pictures_of(port, client.acknowledged[key])) < at and time.monotonic() < until:
                time.sleep(0.005)
            if number % 2:
                worker_of(process.pid).kill()
                wait_until_idle(port, 3 if without else 60)
            process.kill()
            process.join()
    with server(home, without) as (_, port):
        wait_until_idle(port, 3 if without else 600)
    return audit(home, [client])


def pictures_of(port: int, job: str) -> list[object]:
    return list(get(port, f"/api/v1/jobs/{job}").get("images", []))


def worker_of(server: int | None) -> psutil.Process:
    """The process that makes the server's pictures; its other children look after what processes share."""
    children = psutil.Process(server).children()
    return next(child for child in children if "spawn_main" in " ".join(child.cmdline()))


def full_disks(home: Path, rounds: int, without: str) -> Counter[str]:
    """The disk runs full while jobs run, then there is room again. `home` lies on a small disk."""
    client, ballast = Client(0), home / "ballast"
    with server(home, without) as (_, port):
        for number in range(rounds):
            refused = 0
            for job in range(12):
                key = f"full-{number}-{job}"
                client.sent.append(key)
                refused += not client.post(port, key)
                if job == 3:
                    fill(ballast)
            listed = get(port, "/api/v1/images?limit=50")  # looking goes on
            assert isinstance(listed, list) and refused, "a full disk took jobs in"
            ballast.unlink()
            client.ask_again(port)
            wait_until_idle(port)
    return audit(home, [client])


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 65536)


def audit(home: Path, clients: list[Client]) -> Counter[str]:
    """What is wrong in the library, against what clients were told."""
    kinds = ("lost", "doubled", "unfinished", "half_written", "wrong_pixels", "leftovers")
    wrong: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    with closing(sqlite3.connect(home / "studio.db")) as database:
        wrong["corrupt"] = int(database.execute("PRAGMA integrity_check").fetchone()[0] != "ok")
        asked = "SELECT id, state, request, attempts, error FROM jobs"
        jobs = {row[0]: row[1:] for row in database.execute(asked)}
        images = database.execute('SELECT id, job, "index", format, seed FROM images').fetchall()
    prompts = Counter(json.loads(row[1])["prompt"] for row in jobs.values())
    indexes: dict[str, list[int]] = {}
    for _, job, index, _, _ in images:
        indexes.setdefault(job, []).append(index)
    met_twice = 0
    for client in clients:
        wrong["lost"] += sum(id not in jobs for id in client.acknowledged.values())
        wrong["doubled"] += sum(prompts[key] > 1 for key in client.sent)
        for id in client.acknowledged.values():
            made, whole_job = sorted(indexes.get(id, [])), list(range(client.count))
            wrong["doubled"] += len(made) != len(set(made))
            if id in jobs and not (jobs[id][0] == "completed" and made == whole_job):
                gave_up = ended_by_two_kills(*jobs[id])
                met_twice += gave_up
                wrong["unfinished"] += not gave_up
    files = {file.name for file in (home / "pictures").iterdir()}
    wrong["leftovers"] += len(files ^ {f"{row[0]}.{row[3]}" for row in images})
    for id, job, index, format, _ in images:
        if not whole(home / "pictures" / f"{id}.{format}"):
            wrong["half_written"] += 1
        elif job in jobs and index == len(indexes[job]) - 1:  # the last of each job: made after every kill
            wrong["wrong_pixels"] += not as_undisturbed(home, id, format, jobs[job][1], index)
    acknowledged = sum(len(client.acknowledged) for client in clients)
    print(f"  {acknowledged} jobs acknowledged, {len(images)} pictures: {dict(wrong)}", flush=True)
    if met_twice:
        print(f"  {met_twice} jobs were running at two kills, and failed by that code", flush=True)
    return wrong


def ended_by_two_kills(state: str, request: str, attempts: int, error: str | None) -> bool:
    """A job has two attempts: one that runs during two kills fails, and says so."""
    return (state, attempts) == ("failed", 2) and json.loads(error or "{}").get("code") == "worker_crashed"


def whole(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            picture.load()
    except (OSError, SyntaxError):
        return False
    return True


def as_undisturbed(home: Path, id: str, format: str, request: str, index: int) -> bool:
    from studio.executors.fake import FakeExecutor
    from studio.schema import Rendered, ResolvedRequest

    asked = ResolvedRequest.model_validate_json(request)
    one = asked.model_copy(update={"seed": asked.seed + index, "count": 1})
    executor = FakeExecutor()
    executor.start()
    (made,) = [event for event in executor.run(one, {}) if isinstance(event, Rendered)]
    with Image.open(home / "pictures" / f"{id}.{format}") as kept, Image.open(io.BytesIO(made.data)) as new:
        return kept.tobytes() == new.tobytes()


def run(options: argparse.Namespace) -> int:
    wrong: Counter[str] = Counter()
    for name, rounds, soak in (("kills", options.kills, kills), ("batches", options.batches, batches)):
        if rounds:
            begun = time.monotonic()
            print(f"{name}: {rounds}", flush=True)
            with tempfile.TemporaryDirectory(prefix="soak") as home:
                wrong += soak(Path(home), rounds, options.without)
            print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    if options.full:
        wrong += on_small_disk(options.full, options.without)
    bad = {what: count for what, count in wrong.items() if count}
    print(f"WRONG: {bad}" if bad else "all right: 0 lost, 0 doubled, 0 half-written")
    return 1 if bad else 0


def on_small_disk(rounds: int, without: str) -> Counter[str]:
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        mount = f"mount -t tmpfs -o size={DISK}m none {folder}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
            print("full disks: left out, no tmpfs can be mounted here", flush=True)
            return Counter()
        print(f"full disks: {rounds}", flush=True)
        soak = f"exec {sys.executable} {__file__} --disk {folder} --full {rounds} --without '{without}'"
        command = ["unshare", "-rm", "sh", "-c", f"{mount} && {soak}"]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return Counter(full_disk=int(done.returncode != 0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--full", type=int, default=20)
    parser.add_argument("--without", choices=("", *GUARDS), default="")
    parser.add_argument("--disk", type=Path)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    options = parser.parse_args()
    prepare()
    random.seed(options.seed)
    if options.disk is not None:
        found = full_disks(options.disk, options.full, options.without)
        return int(any(found.values()))
    return run(options)


if __name__ == "__main__":
    raise SystemExit(main())
