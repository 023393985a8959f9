"""The queue's rows: one job for one key, turns for users, claims that end, an order one can change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from studio.errors import Conflict, LibraryReadOnly, NotFound, StudioError
from studio.jobs.parts import missing
from studio.jobs.queue import KEY_LIFE, LEASE, Order, Queue
from studio.library import Database, Library
from studio.library.tables import idempotency, jobs
from studio.schema import Progress, Rendered, ResolvedRequest


def request(**fields: Any) -> ResolvedRequest:
    usual = {"model": "pocket", "negative_prompt": "", "width": 64, "height": 64, "steps": 1, "guidance": 5.0}
    return ResolvedRequest(**{"prompt": "a mug", **usual, "scheduler": "pndm", "seed": 0, **fields})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "studio.db")
    yield opened
    opened.close()


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, "me", 500)


def put(queue: Queue, **order: Any) -> str:
    return str(queue.put(Order(request(), **order)).row.id)


def claimed(queue: Queue) -> str | None:
    row = queue.claim()
    return None if row is None else str(row.id)


def test_fifty_posts_at_once_with_one_key_are_one_job(queue: Queue) -> None:
    with ThreadPoolExecutor(16) as pool:
        ids = set(pool.map(lambda _: put(queue, key="k", body="b"), range(50)))
    assert len(ids) == 1 and len(queue.line()) == 1


def test_of_a_group_that_waits_for_the_writer_each_gets_its_own_answer(database: Database) -> None:
    queue = Queue(database, "me", 3)
    kept = put(queue, key="k", body="b")
    orders = [{}, {"key": "k", "body": "b"}, {"key": "k", "body": "c"}, {"key": "l"}, {"key": "l"}, {}, {}]
    asked = threading.Barrier(len(orders) + 1)

    def answer(order: dict[str, Any]) -> str:
        asked.wait()
        try:
            return put(queue, **order)
        except StudioError as error:
            return error.code

    with ThreadPoolExecutor(len(orders)) as pool:
        with database.write():  # nobody gets in meanwhile: all of them are one group, or nearly so
            answers = [pool.submit(answer, order) for order in orders]
            asked.wait()
            time.sleep(0.2)
        plain, again, other, new, twin, *rest = [one.result() for one in answers]
    assert again == kept and other == "idempotency_key_reused" and new == twin
    taken = {one for one in (plain, new, *rest) if one != "queue_full"}
    assert taken | {kept} == set(queue.line()) and len(taken) == 2


def test_a_group_that_cannot_be_written_is_told_so_to_each(
    database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "notice", "only shown")
    for _ in range(2):
        with pytest.raises(LibraryReadOnly):
            put(queue)
    monkeypatch.undo()
    assert put(queue)


def test_a_key_with_another_body_is_refused_and_leaves_the_others_alone(queue: Queue) -> None:
    put(queue, key="k", body="b")
    with pytest.raises(Conflict) as caught:
        put(queue, key="k", body="c")
    assert caught.value.code == "idempotency_key_reused"
    assert put(queue, key="k", body="c", user="anna") != put(queue, key="l", body="b")


def test_a_key_is_forgotten_after_a_day(queue: Queue, database: Database) -> None:
    first = put(queue, key="k", body="b")
    with database.write() as connection:
        connection.execute(update(idempotency).values(created=time.time() - KEY_LIFE - 1))
    assert put(queue, key="k", body="c") != first


def test_users_take_turns_whatever_one_of_them_queued(queue: Queue) -> None:
    many = [put(queue, user="many", priority=100) for _ in range(6)]
    few = [put(queue, user="few") for _ in range(2)]
    order = [claimed(queue) for _ in range(8)]
    assert order == [many[0], few[0], many[1], few[1], *many[2:]]
    assert claimed(queue) is None


def test_who_has_fewer_jobs_running_goes_first(queue: Queue) -> None:
    ids = {user: [put(queue, user=user) for _ in range(3)] for user in ("a", "b")}
    rows = [queue.claim() for _ in range(4)]  # two each
    for row in rows:
        if row is not None and row.user == "b":
            queue.finish(row.id, "completed", 1, seconds=0.0)
    assert claimed(queue) == ids["b"][2]


def test_priority_and_order_are_among_ones_own(queue: Queue) -> None:
    a, b, c, d = (put(queue) for _ in range(4))
    queue.change(d, priority=None, held=None, before=b)
    queue.change(c, priority=5, held=None, before=None)
    assert queue.line() == [c, a, d, b]
    queue.change(b, priority=None, held=None, before=c)
    assert queue.line() == [b, c, a, d]
    assert [claimed(queue) for _ in range(4)] == [b, c, a, d]
    with pytest.raises(Conflict):
        queue.change(a, priority=1, held=None, before=None)


def test_nobody_moves_a_job_before_a_strangers(queue: Queue) -> None:
    mine, theirs = put(queue), put(queue, user="anna")
    with pytest.raises(NotFound):
        queue.change(mine, priority=None, held=None, before=theirs)


def test_a_held_job_waits_and_a_paused_queue_gives_none(queue: Queue, database: Database) -> None:
    held, free = put(queue), put(queue)
    queue.change(held, priority=None, held=True, before=None)
    queue.pause(True)
    assert claimed(queue) is None and Queue(database, "me", 5).paused()
    queue.pause(False)
    assert claimed(queue) == free and claimed(queue) is None
    queue.change(held, priority=None, held=False, before=None)
    assert claimed(queue) == held


def test_each_job_is_claimed_once(queue: Queue) -> None:
    ids = [put(queue) for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = [id for id in pool.map(lambda _: claimed(queue), range(80)) if id]
    assert sorted(found) == sorted(ids)


def test_a_late_worker_is_refused(queue: Queue, database: Database, tmp_path: Path) -> None:
    id = put(queue)
    late = queue.claim()
    assert late is not None
    other = Queue(database, "other", 500)
    assert [row.id for row in other.adopt("me", "{}", 1)] == [id]
    now = other.claim()
    assert now is not None and now.fence > late.fence
    library = Library(tmp_path, database)
    picture = Rendered(0, 0, 8, 8, b"", 0.1)
    assert library.add(id, request(), picture, b"late", fence=late.fence) is None
    assert list((tmp_path / "pictures").iterdir()) == []
    assert not queue.finish(id, "failed", 2, seconds=0.0, fence=late.fence)
    assert not queue.requeue(late, 0)
    assert library.add(id, request(), picture, b"in time", fence=now.fence) is not None
    assert other.finish(id, "completed", 3, seconds=0.0, fence=now.fence)


def test_only_a_lease_that_ran_out_is_taken_over(queue: Queue, database: Database) -> None:
    queue.lives = True
    id = put(queue)
    other = Queue(database, "other", 500)
    assert other.adopt(None, "{}", 1) == []
    for lease in (time.monotonic() - 1, time.monotonic() + 100 * LEASE):  # the second: before a reboot
        with database.write() as connection:
            connection.execute(update(jobs).values(lease=lease, owner="me"))
        assert [row.id for row in other.adopt(None, "{}", 1)] == [id]
    queue.renew({})
    assert queue.adopt(None, "{}", 1) == []


def test_what_is_missing_is_asked_for_with_its_own_seeds() -> None:
    parts = missing(request(count=6, seed=2**32 - 2), {0, 3})
    asked = [(part.first, part.request.seed, part.request.count, part.made) for part in parts]
    assert asked == [(1, 2**32 - 1, 2, 2), (4, 2, 2, 4)]
    assert parts[1].of_job(Progress(5, 20, 1.0)) == Progress(45, 60, 1.0)
    assert missing(request(count=2), {0, 1}) == []
