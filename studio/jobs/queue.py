"""The rows of the queue. Each verb is one transaction; who comes too late is told so by the row."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Subquery, delete, func, insert, or_, select, update

from studio.errors import Conflict, NotFound, QueueFull, StudioError
from studio.library import Database, GroupCommit, is_id, new_id
from studio.library.tables import flags, idempotency, jobs
from studio.schema import ResolvedRequest, State

LOCAL = "local"  # whose everything is where nobody signs in
OPEN = ("queued", "running")
ATTEMPTS = 2  # of a job whose worker died: one that kills every worker must not stop the queue
COUNTED_FOR = 0.1  # s for which SQLite's count of the queue holds: one process alone fills that one
NOT_COUNTED = (0.0, 0)
LEASE = 30.0  # s that a claim holds without a sign of life of its process
SPARE = 60_000  # event numbers, a minute of the clock: rows learn of given ones only now and then
KEY_LIFE = 24 * 3600.0  # s that an idempotency key is remembered
PAUSED = "paused"
KEEPER = "keeper"

MINE_FIRST = (jobs.c.priority.desc(), func.coalesce(jobs.c.place, jobs.c.number), jobs.c.number)

TAKE_IN = insert(jobs).returning(jobs)


@dataclass(frozen=True)
class Order:
    """A job that is asked for. `key`: Idempotency-Key; `body`: hash of what came with it.

    `snapshot`: the weights it was asked with. `cache_key`: None where the seed was drawn. `source`: job whose
    pictures answer it.
    """

    request: ResolvedRequest
    user: str = LOCAL
    priority: int = 0
    key: str | None = None
    body: str = ""
    snapshot: Mapping[str, Any] = field(default_factory=dict)
    cache_key: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Placed:
    """`ahead`: jobs that go before it. `fresh`: False for the job that the same key got before."""

    row: Row[Any]
    ahead: int
    fresh: bool


class Queue:
    """`me` names this process among those that share the database; `most`: jobs that may wait."""

    def __init__(self, database: Database, me: str, most: int) -> None:
        self._database, self._me, self._most = database, me, most
        self.lives = False  # True once something renews the leases of this process
        self._turns: dict[str, float] = {}  # when each user last got a turn
        self._door = GroupCommit(database, self._put_all)
        self._counted = NOT_COUNTED  # until when that holds, and how many jobs wait

    # --- in ---

    def put(self, order: Order) -> Placed:
        """Committed when it returns. Raises QueueFull, and Conflict for a key that came with another body."""
        until, ahead = self._counted
        if time.monotonic() < until and order.key is None and order.source is None:
            self._check_room(ahead)  # a flood of requests must not keep the database busy
        return self._door.put(order)

    def _put_all(self, connection: Connection, orders: Sequence[Order]) -> list[Placed | StudioError]:
        until, ahead = self._counted
        if time.monotonic() >= until:
            holds = COUNTED_FOR if self._database.sqlite else 0.0
            until, ahead = time.monotonic() + holds, self._count(connection)
        new: list[dict[str, Any]] = []
        found: list[tuple[str, int, bool] | StudioError] = []
        for order in orders:
            try:
                known = self._known(order, connection)
                if known is None and order.source is None:
                    self._check_room(ahead)
            except StudioError as error:
                found.append(error)
                continue
            if known is not None:
                found.append((known, 0, False))
                continue
            row = self._row_of(order)
            new.append(row)
            found.append((row["id"], ahead, True))
            ahead += order.source is None
            if order.key is not None:
                mark = {"user": order.user, "key": order.key, "body": order.body, "job": row["id"]}
                connection.execute(insert(idempotency).values(mark | {"created": row["created"]}))
        rows = {row.id: row for row in connection.execute(TAKE_IN, new)} if new else {}
        self._counted = until, ahead
        return [
            one if isinstance(one, StudioError) else Placed(self._in(rows, one[0], connection), *one[1:])
            for one in found
        ]

    def _in(self, rows: Mapping[str, Row[Any]], id: str, connection: Connection) -> Row[Any]:
        return rows[id] if id in rows else connection.execute(select(jobs).where(jobs.c.id == id)).one()

    def _row_of(self, order: Order) -> dict[str, Any]:
        now, waits = time.time(), order.source is None
        return {
            "id": new_id(), "state": "queued" if waits else "completed", "owner": self._me, "created": now,
            "user": order.user, "request": order.request.model_dump_json(), "priority": order.priority,
            "lease": time.monotonic() + LEASE if self.lives else None, "snapshot": json.dumps(order.snapshot),
            "cache_key": order.cache_key if waits else None, "source": order.source,
            "started": None if waits else now, "ended": None if waits else now,
            "last_event": 0 if waits else int(now * 1000),
        }  # fmt: skip

    def _known(self, order: Order, connection: Connection) -> str | None:
        """Id of the job that the order's key got before."""
        if order.key is None:
            return None
        old = idempotency.c.created < time.time() - KEY_LIFE
        connection.execute(delete(idempotency).where(old))
        mine = (idempotency.c.user == order.user) & (idempotency.c.key == order.key)
        mark = connection.execute(select(idempotency).where(mine)).first()
        if mark is not None and mark.body != order.body:
            raise Conflict(
                "This Idempotency-Key came with another request before.",
                hint="Send the same request again, or draw a new key for a new one.",
                field="idempotency-key",
                code="idempotency_key_reused",
            )
        return None if mark is None else str(mark.job)

    def _count(self, connection: Connection) -> int:
        waiting = select(func.count()).select_from(jobs).where(jobs.c.state == "queued")
        return connection.scalar(waiting) or 0

    def _check_room(self, ahead: int) -> None:
        if ahead >= self._most:
            raise QueueFull(
                f"{ahead} jobs are waiting; the queue holds {self._most}.",
                hint=f"Try again in {QueueFull.retry_after} s.",
            )

    # --- out ---

    def claim(self) -> Row[Any] | None:
        """The next job, running from now on under a lease. Users take turns; priority is among one's own."""
        with self._database.write() as connection:
            if self._flag(connection, PAUSED) is not None:
                return None
            ranks = self._ranks()
            heads = connection.execute(
                select(jobs).join(ranks, ranks.c.id == jobs.c.id).where(ranks.c.rank == 1)
            ).all()
            if not heads:
                return None
            busy = self._busy(connection)
            first = min(
                heads, key=lambda row: (busy.get(row.user, 0), self._turns.get(row.user, 0.0), row.number)
            )
            change = {
                "state": "running", "attempts": first.attempts + 1, "fence": first.fence + 1,
                "lease": time.monotonic() + LEASE, "started": first.started or time.time(),
            }  # fmt: skip
            connection.execute(update(jobs).where(jobs.c.id == first.id).values(change))
            row = connection.execute(select(jobs).where(jobs.c.id == first.id)).one()
        self._turns[row.user] = time.monotonic()
        self._counted = NOT_COUNTED
        return row

    def _ranks(self) -> Subquery:
        """(id, rank among its user's, number) of the jobs that wait for this process."""
        rank = func.row_number().over(partition_by=jobs.c.user, order_by=MINE_FIRST).label("rank")
        mine = (jobs.c.state == "queued") & (jobs.c.owner == self._me) & (jobs.c.held == 0)
        return select(jobs.c.id, rank, jobs.c.number).where(mine).subquery("ranks")

    def _busy(self, connection: Connection) -> dict[str, int]:
        running = select(jobs.c.user, func.count()).where(jobs.c.state == "running").group_by(jobs.c.user)
        return {user: int(count) for user, count in connection.execute(running)}

    def finish(
        self, id: str, state: State, number: int, *, seconds: float, error: str | None = None,
        fence: int | None = None,
    ) -> bool:  # fmt: skip
        """False where the job had ended, or, with a `fence`, where another claim runs it now."""
        where = (jobs.c.id == id) & jobs.c.state.in_(OPEN)
        if fence is not None:
            where &= (jobs.c.fence == fence) & (jobs.c.state == "running")
        last = {"state": state, "seconds": seconds, "error": error, "last_event": number}
        last["ended"] = time.time()
        with self._database.write() as connection:
            done = connection.execute(update(jobs).where(where).values(last)).rowcount == 1
        self._counted = NOT_COUNTED
        return done

    def requeue(self, row: Row[Any], attempts: int) -> bool:
        """Back to its place, where `row` is still the claim that runs it."""
        where = (jobs.c.id == row.id) & (jobs.c.state == "running") & (jobs.c.fence == row.fence)
        again = {"state": "queued", "attempts": attempts, "lease": time.monotonic() + LEASE}
        with self._database.write() as connection:
            return connection.execute(update(jobs).where(where).values(again)).rowcount == 1

    # --- order ---

    def line(self) -> list[str]:
        """Ids in the order in which they will go, users taking turns."""
        ranks = self._ranks()
        with self._database.read() as connection:
            return list(connection.scalars(select(ranks.c.id).order_by(ranks.c.rank, ranks.c.number)))

    def change(self, id: str, priority: int | None, held: bool | None, before: str | None) -> None:
        """Of a waiting job: its priority, whether it is held back, the job of the same user it goes before.

        Raises NotFound, and Conflict for a job that no longer waits.
        """
        with self._database.write() as connection:
            row = self._waiting(connection, id)
            change: dict[str, Any] = {}
            if priority is not None:
                change["priority"] = priority
            if held is not None:
                change["held"] = int(held)
            if before is not None:
                change |= self._place(connection, row, self._waiting(connection, before))
            if change:
                connection.execute(update(jobs).where(jobs.c.id == id).values(change))

    def _waiting(self, connection: Connection, id: str) -> Row[Any]:
        row = connection.execute(select(jobs).where(jobs.c.id == (id if is_id(id) else ""))).first()
        if row is None:
            raise no_job()
        if row.state != "queued":
            hint = "Only a waiting job can be moved or held."
            raise Conflict(f"The job is {row.state} already.", hint=hint)
        return row

    def _place(self, connection: Connection, row: Row[Any], target: Row[Any]) -> dict[str, Any]:
        """Just before `target`: half-way to the one that stands there now."""
        if row.user != target.user:
            raise no_job()
        place = func.coalesce(jobs.c.place, jobs.c.number)
        here = target.number if target.place is None else target.place
        same = (jobs.c.state == "queued") & (jobs.c.user == row.user) & (jobs.c.priority == target.priority)
        last = connection.scalar(select(func.max(place)).where(same, place < here, jobs.c.id != row.id))
        return {"priority": target.priority, "place": here - 1 if last is None else (here + last) / 2}

    def pause(self, paused: bool) -> None:
        """No job begins while it is paused; running ones go on. Survives a restart."""
        with self._database.write() as connection:
            connection.execute(delete(flags).where(flags.c.name == PAUSED))
            if paused:
                connection.execute(insert(flags).values(name=PAUSED, value=str(time.time())))

    def paused(self) -> bool:
        with self._database.read() as connection:
            return self._flag(connection, PAUSED) is not None

    def _flag(self, connection: Connection, name: str) -> str | None:
        return connection.scalar(select(flags.c.value).where(flags.c.name == name))

    # --- processes that come and go ---

    def renew(self, told: Mapping[str, int]) -> None:
        """A sign of life for all that this process has; `told`: last event numbers of those that run."""
        mine = (jobs.c.owner == self._me) & jobs.c.state.in_(OPEN)
        with self._database.write() as connection:
            connection.execute(update(jobs).where(mine).values(lease=time.monotonic() + LEASE))
            for id, number in told.items():
                later = (jobs.c.id == id) & (jobs.c.last_event < number) & (jobs.c.state == "running")
                connection.execute(update(jobs).where(later).values(last_event=number))

    def keep(self) -> str:
        """From now on this process looks after the queue. Returns who did before."""
        with self._database.write() as connection:
            before = self._flag(connection, KEEPER) or ""
            connection.execute(delete(flags).where(flags.c.name == KEEPER))
            connection.execute(insert(flags).values(name=KEEPER, value=self._me))
        return before

    def adopt(self, dead: str | None, error: str, number: int) -> Sequence[Row[Any]]:
        """Takes the jobs of a process that is known to be dead, and those whose lease ran out.

        Those that ran twice already have failed. A lease from before the machine's clock began
        anew lies far ahead, and counts as run out. Returns what waits for this process now.
        """
        now = time.monotonic()
        left = or_(jobs.c.lease.is_(None), jobs.c.lease < now, jobs.c.lease > now + 2 * LEASE)
        if dead is not None:
            left = or_(left, jobs.c.owner == dead)
        theirs = jobs.c.state.in_(OPEN) & (jobs.c.owner != self._me) & left
        mine = {"owner": self._me, "lease": now + LEASE, "fence": jobs.c.fence + 1}
        with self._database.write() as connection:
            worn = theirs & (jobs.c.state == "running") & (jobs.c.attempts >= ATTEMPTS)
            last = {"state": "failed", "error": error, "last_event": number, "ended": time.time()}
            connection.execute(update(jobs).where(worn).values(mine | last))
            ids = list(connection.scalars(select(jobs.c.id).where(theirs).order_by(jobs.c.number)))
            again = mine | {"state": "queued", "last_event": jobs.c.last_event + SPARE}
            for chunk in _chunks(ids):
                connection.execute(update(jobs).where(jobs.c.id.in_(chunk)).values(again))
            mine_now = select(jobs).where(jobs.c.owner == self._me, jobs.c.state == "queued")
            rows = connection.execute(mine_now.order_by(jobs.c.number)).all() if ids else []
        taken = set(ids)
        return [row for row in rows if row.id in taken]

    # --- looking ---

    def row(self, id: str) -> Row[Any]:
        """Raises NotFound (`job_not_found`)."""
        with self._database.read() as connection:
            found = connection.execute(select(jobs).where(jobs.c.id == (id if is_id(id) else ""))).first()
        if found is None:
            raise no_job()
        return found

    def recent(self, limit: int, user: str | None) -> Sequence[Row[Any]]:
        query = select(jobs).order_by(jobs.c.number.desc()).limit(max(1, limit))
        if user is not None:
            query = query.where(jobs.c.user == user)
        with self._database.read() as connection:
            return connection.execute(query).all()

    def ended(self, after: float, limit: int) -> Sequence[Row[Any]]:
        """Of all users, in the order of their ends."""
        query = select(jobs).where(jobs.c.ended > after).order_by(jobs.c.ended, jobs.c.number).limit(limit)
        with self._database.read() as connection:
            return connection.execute(query).all()

    def by_state(self) -> dict[State, int]:
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {state: int(count) for state, count in connection.execute(query)}

    def answered(self, cache_key: str, user: str) -> Row[Any] | None:
        """The newest job of `user` that did the same."""
        same = (jobs.c.cache_key == cache_key) & (jobs.c.user == user)
        done = same & (jobs.c.state == "completed") & jobs.c.source.is_(None)
        query = select(jobs).where(done).order_by(jobs.c.number.desc()).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first()

    def pace(self) -> float:
        """Mean seconds of the last twenty jobs that were done; 0 while there is none."""
        done = (jobs.c.state == "completed") & jobs.c.source.is_(None)
        last = select(jobs.c.seconds).where(done).order_by(jobs.c.number.desc()).limit(20).subquery()
        with self._database.read() as connection:
            return float(connection.scalar(select(func.avg(last.c.seconds))) or 0.0)


def no_job() -> NotFound:
    return NotFound("No such job.", hint="A job's id is what submitting it answered.", code="job_not_found")


def _chunks(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
