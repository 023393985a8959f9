"""Hooks and their deliveries, kept as rows: what was not delivered is tried again, also after a restart."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from studio.errors import BadRequest, NotFound, StudioError
from studio.library import Database, new_id
from studio.library.tables import deliveries, flags, images, jobs, webhooks
from studio.people import speaker
from studio.schema import JobView
from studio.webhooks.post import post, target_of

log = logging.getLogger(__name__)

WAITS = (5, 30, 120, 600, 3600, 21_600)  # s before each further attempt: seven within 8 hours
MOST = 20  # hooks of one user
AT_ONCE = 4  # deliveries: a receiver that is slow must not hold up the others
LOOK = 0.5  # s between looks at what has ended
OVERLAP = 10.0  # s looked at again: jobs that end together may be written in any order
PAGE = 200  # jobs of one look
HELD = 120.0  # s for which a delivery under way is nobody else's
UNTIL = "webhooks_until"

Ended = Callable[[float, int], list[JobView]]


@dataclass(frozen=True)
class Hook:
    """`secret` is told once, when the hook is made. `last`: how the newest delivery went."""

    id: str
    url: str
    created: float
    secret: str = ""
    last: Mapping[str, Any] | None = None


class Webhooks:
    """`ended`: everybody's jobs that ended later than a time. `private`: addresses of our own network too."""

    def __init__(self, database: Database, ended: Ended, private: bool) -> None:
        self._database, self._ended, self._private = database, ended, private
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._posts = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")

    # --- hooks ---

    def add(self, url: str, secret: str = "") -> Hook:
        """Raises BadRequest: `url_not_allowed`, `too_many_webhooks`."""
        target_of(url, self._private)
        row = {
            "id": new_id(), "user": speaker.get().name, "url": url, "created": time.time(),
            "secret": secret or secrets.token_urlsafe(32),
        }  # fmt: skip
        mine = select(func.count()).where(webhooks.c.user == row["user"])
        with self._database.write() as connection:
            if (connection.scalar(mine) or 0) >= MOST:
                raise BadRequest(f"{MOST} webhooks at most.", hint="Remove one.", code="too_many_webhooks")
            connection.execute(insert(webhooks).values(row))
        return Hook(str(row["id"]), url, float(str(row["created"])), str(row["secret"]))

    def list(self) -> list[Hook]:
        """The caller's own; secrets are not told again."""
        query = select(webhooks).where(webhooks.c.user == speaker.get().name).order_by(webhooks.c.created)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            return [Hook(row.id, row.url, row.created, last=self._last(connection, row.id)) for row in rows]

    def _last(self, connection: Any, hook: str) -> Mapping[str, Any] | None:
        query = select(deliveries).where(deliveries.c.webhook == hook).order_by(deliveries.c.due.desc())
        row = connection.execute(query.limit(1)).first()
        if row is None:
            return None
        return {"job": row.job, "state": row.state, "attempts": row.attempts, "status": row.status}

    def remove(self, id: str) -> None:
        """Raises NotFound; what was not delivered yet never will be."""
        mine = (webhooks.c.id == id) & (webhooks.c.user == speaker.get().name)
        with self._database.write() as connection:
            if not connection.execute(delete(webhooks).where(mine)).rowcount:
                raise NotFound("No such webhook.", code="webhook_not_found")
            connection.execute(delete(deliveries).where(deliveries.c.webhook == id))

    # --- deliveries ---

    def start(self) -> None:
        if not self._database.notice:
            self._thread = threading.Thread(target=self._serve, name="webhooks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._posts.shutdown(wait=True, cancel_futures=True)

    def _serve(self) -> None:
        while not self._stop.wait(LOOK):
            try:
                hooks = self._hooks()
                if hooks:
                    self._note_ended(hooks)
                    self._send_due(hooks)
            except Exception:  # a full disk, a database that restarts: it is looked at again
                log.exception("webhooks could not be looked at")

    def _hooks(self) -> dict[str, Row[Any]]:
        with self._database.read() as connection:
            return {row.id: row for row in connection.execute(select(webhooks))}

    def _note_ended(self, hooks: Mapping[str, Row[Any]]) -> None:
        """A row for each hook and job of its user that ended since; the same job is noted once."""
        with self._database.read() as connection:
            until = float(connection.scalar(select(flags.c.value).where(flags.c.name == UNTIL)) or 0)
            begun = max(until - OVERLAP, min(row.created for row in hooks.values()))
        for jobs_ended in pages(self._ended, begun):
            self._note_page(hooks, jobs_ended, until)

    def _note_page(self, hooks: Mapping[str, Row[Any]], ended: Sequence[JobView], until: float) -> None:
        mine = deliveries.c.job.in_([job.id for job in ended])
        with self._database.read() as connection:
            noted = connection.execute(select(deliveries.c.webhook, deliveries.c.job).where(mine))
            known = {(row.webhook, row.job) for row in noted}
        fresh = [
            {"webhook": hook.id, "job": job.id, "attempts": 0, "due": time.time(), "state": "waiting"}
            for job in ended
            for hook in hooks.values()
            if hook.user == job.user and (job.ended or 0) >= hook.created and (hook.id, job.id) not in known
        ]
        newest = ended[-1].ended or 0.0
        if fresh or newest > until + OVERLAP:
            self._note(fresh, newest)

    def _note(self, rows: Sequence[Mapping[str, Any]], until: float) -> None:
        for row in rows:
            try:
                with self._database.write() as connection:
                    connection.execute(insert(deliveries).values(row))
            except IntegrityError:  # another process of this library noted it
                continue
        with self._database.write() as connection:
            connection.execute(delete(flags).where(flags.c.name == UNTIL))
            connection.execute(insert(flags).values(name=UNTIL, value=str(until)))

    def _send_due(self, hooks: Mapping[str, Row[Any]]) -> None:
        due = (deliveries.c.state == "waiting") & (deliveries.c.due <= time.time())
        with self._database.read() as connection:
            rows = connection.execute(
                select(deliveries).where(due).order_by(deliveries.c.due).limit(50)
            ).all()
        for row in rows:
            same = (deliveries.c.webhook == row.webhook) & (deliveries.c.job == row.job)
            held = (
                update(deliveries).where(same & (deliveries.c.due == row.due)).values(due=time.time() + HELD)
            )
            with self._database.write() as connection:
                mine = connection.execute(held).rowcount
            if mine and row.webhook in hooks and not self._stop.is_set():
                self._posts.submit(self._deliver, hooks[row.webhook], row)

    def _deliver(self, hook: Row[Any], row: Row[Any]) -> None:
        status, attempts = 0, row.attempts + 1
        try:
            body = json.dumps(message(row, self._state_of(row.job)), ensure_ascii=False).encode()
            status = post(target_of(hook.url, self._private), body, headers_of(hook.secret, row, body))
        except (OSError, HTTPException, StudioError):
            pass  # no answer: the same as a bad one
        except Exception:
            log.exception("a webhook could not be delivered")
        done = 200 <= status < 300
        last = attempts > len(WAITS)
        state = "sent" if done else "failed" if last else "waiting"
        due = time.time() + (0 if done or last else WAITS[attempts - 1])
        same = (deliveries.c.webhook == row.webhook) & (deliveries.c.job == row.job)
        values = {"state": state, "attempts": attempts, "due": due, "status": status}
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(same).values(values))

    def _state_of(self, job: str) -> Mapping[str, Any]:
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
            made = select(images.c.id, images.c.seed, images.c.width, images.c.height)
            made = made.where(images.c.job == (row.source or job)).order_by(images.c.index)
            pictures = [dict(picture) for picture in connection.execute(made).mappings()]
        return {
            "id": job, "state": row.state, "created": row.created, "ended": row.ended,
            "error": json.loads(row.error) if row.error else None,
            "images": [one | {"url": f"/api/v1/images/{one['id']}/file"} for one in pictures],
        }  # fmt: skip


def pages(ended: Ended, after: float) -> Iterator[list[JobView]]:
    """What ended later than `after`, some at a time."""
    while True:
        jobs = ended(after, PAGE)
        if jobs:
            yield jobs
            after = jobs[-1].ended or after
        if len(jobs) < PAGE:
            return


def message(row: Row[Any], job: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: ids and figures, no prompt."""
    return {"event": f"job.{job['state']}", "delivery": f"{row.webhook}.{row.job}", "job": dict(job)}


def headers_of(secret: str, row: Row[Any], body: bytes) -> dict[str, str]:
    """The signature covers the time too, so that a message caught on its way is worth nothing later."""
    at = str(int(time.time()))
    return {
        "Content-Type": "application/json", "User-Agent": "brand-studio",
        "X-Studio-Delivery": f"{row.webhook}.{row.job}", "X-Studio-Timestamp": at,
        "X-Studio-Signature": "sha256=" + sign(secret, at, body),
    }  # fmt: skip


def sign(secret: str, at: str, body: bytes) -> str:
    """HMAC-SHA256 over `TIMESTAMP.BODY`, in hex."""
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
