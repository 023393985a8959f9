"""The queue keeps its word: committed before it answers, one ending each, nothing lost at a restart."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from studio.errors import NotFound, OutOfMemory, QueueFull, WorkerCrashed
from studio.jobs import Jobs
from studio.library import Database, Library
from studio.library.events import Live
from studio.schema import (
    Cancelled,
    Done,
    Event,
    Failed,
    JobView,
    Picture,
    Preview,
    Progress,
    Queued,
    Rendered,
    ResolvedRequest,
    Started,
    WorkerStatus,
)
from studio.settings import Settings

Script = Callable[[ResolvedRequest], Iterator[Event]]


class Scripted:
    """Runs what the test says. `closed` counts generators that were closed before their end."""

    def __init__(self, script: Script) -> None:
        self.script, self.closed, self.runs = script, 0, 0

    def start(self) -> None: ...

    def close(self) -> None: ...

    def ready(self) -> bool:
        return True

    def status(self) -> WorkerStatus:
        return WorkerStatus(ready=True)

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Iterator[Event]:
        self.runs += 1
        try:
            yield from self.script(request)
        except GeneratorExit:
            self.closed += 1
            raise


def rendered(index: int) -> Rendered:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (index * 9 % 256, 0, 0)).save(out, "PNG")
    return Rendered(index, index, 8, 8, out.getvalue(), 0.1)


def quick(request: ResolvedRequest) -> Iterator[Event]:
    yield Started()
    for index in range(request.count):
        yield Progress(index + 1, request.count, None)
        yield rendered(index)
    yield Done(0.5)


def request(**fields: Any) -> ResolvedRequest:
    usual = {"model": "pocket", "negative_prompt": "", "width": 64, "height": 64, "steps": 1, "guidance": 5.0}
    return ResolvedRequest(**{"prompt": "a mug", **usual, "scheduler": "pndm", "seed": 0, **fields})


class Desk:
    """A queue on a folder; closed at the end of the test."""

    def __init__(self, home: Path, script: Script = quick, start: bool = True, **settings: Any) -> None:
        home.mkdir(exist_ok=True)
        self.database = Database(home / "studio.db")
        self.library = Library(home, self.database)
        self.executor = Scripted(script)
        options = Settings(home=home, **{"rows": 2, **settings})
        self.jobs = Jobs(
            options, self.database, self.library, self.executor, lambda data, *_: data, lambda *_: {}
        )
        if start:
            self.jobs.start()

    def ended(self, job: str) -> JobView:
        view = self.jobs.wait(job, 20)
        assert view.final
        return view

    def close(self) -> None:
        self.jobs.close()
        self.database.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened: list[Desk] = []

    def open_one(*args: Any, **options: Any) -> Desk:
        opened.append(Desk(tmp_path / "home", *args, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_a_submitted_job_is_on_disk_before_the_answer(desk: Callable[..., Desk], tmp_path: Path) -> None:
    job = desk(start=False).jobs.submit(request())
    other = Database(tmp_path / "home" / "studio.db")
    with other.read() as connection:
        assert connection.exec_driver_sql("select id, state from jobs").all() == [(job.id, "queued")]
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
    other.close()


def test_jobs_run_in_the_order_they_came(desk: Callable[..., Desk]) -> None:
    seen: list[str] = []

    def note(asked: ResolvedRequest) -> Iterator[Event]:
        seen.append(asked.prompt)
        yield Done(0.0)

    one = desk(note, rows=1)
    ids = [one.jobs.submit(request(prompt=str(number))).id for number in range(12)]
    for id in ids:
        one.ended(id)
    assert seen == [str(number) for number in range(12)]
    assert [view.id for view in one.jobs.recent(50)] == ids[::-1]


def test_a_full_queue_takes_not_one_more(desk: Callable[..., Desk]) -> None:
    one = desk(start=False, queue=5)
    answers: list[bool] = []

    def push() -> None:
        for _ in range(5):
            try:
                one.jobs.submit(request())
                answers.append(True)
            except QueueFull as full:
                assert full.status == 429 and "the queue holds 5" in full.message
                answers.append(False)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(True) == 5 and one.jobs.counts() == (5, 0)


def test_a_place_that_comes_free_in_a_full_queue_is_given_at_once(desk: Callable[..., Desk]) -> None:
    one = desk(start=False, queue=1)
    job = one.jobs.submit(request())
    with pytest.raises(QueueFull):
        one.jobs.submit(request())
    one.jobs.cancel(job.id)
    assert one.jobs.submit(request()).state == "queued"


def test_a_queued_job_that_is_cancelled_never_runs(desk: Callable[..., Desk]) -> None:
    one = desk(start=False)
    job = one.jobs.submit(request())
    assert one.jobs.cancel(job.id).state == "cancelled"
    assert one.jobs.cancel(job.id).state == "cancelled"  # again is no fault
    one.jobs.start()
    one.ended(one.jobs.submit(request()).id)
    assert one.executor.runs == 1


def test_a_running_job_that_is_cancelled_keeps_its_pictures_and_takes_no_more(
    desk: Callable[..., Desk],
) -> None:
    first, go = threading.Event(), threading.Event()

    def slow(asked: ResolvedRequest) -> Iterator[Event]:
        yield rendered(0)
        first.set()
        assert go.wait(20)
        yield rendered(1)
        yield Done(1.0)

    one = desk(slow)
    job = one.jobs.submit(request(count=2))
    assert first.wait(20)
    view = one.jobs.cancel(job.id)
    go.set()
    assert view.state == "cancelled" and len(view.images) == 1
    wait_for(lambda: one.executor.closed == 1)
    assert len(one.jobs.get(job.id).images) == 1
    assert isinstance(list(one.jobs.events(job.id, 0))[-1][1], Cancelled)


def test_a_running_job_that_is_cancelled_is_let_go_at_its_next_step(desk: Callable[..., Desk]) -> None:
    first, go = threading.Event(), threading.Event()
    steps: list[int] = []

    def long(asked: ResolvedRequest) -> Iterator[Event]:
        yield Progress(1, 150, None)
        first.set()
        assert go.wait(20)
        for step in range(2, 151):
            steps.append(step)
            yield Progress(step, 150, None)
        yield Done(1.0)

    one = desk(long)
    job = one.jobs.submit(request())
    assert first.wait(20)
    one.jobs.cancel(job.id)
    go.set()
    wait_for(lambda: one.executor.closed == 1)
    assert steps == [2]


def test_a_picture_that_comes_while_the_cancel_is_answered_is_not_kept(desk: Callable[..., Desk]) -> None:
    stamping, go = threading.Event(), threading.Event()

    def slow_stamp(data: bytes, *_: Any) -> bytes:
        stamping.set()
        assert go.wait(20)
        return data

    one = desk(start=False)
    one.jobs._stamp = slow_stamp
    one.jobs.start()
    job = one.jobs.submit(request())
    assert stamping.wait(20)
    one.jobs.cancel(job.id)
    go.set()
    wait_for(lambda: one.executor.closed == 1)
    assert one.jobs.get(job.id).images == ()


def test_a_failure_is_kept_as_it_was_said(desk: Callable[..., Desk]) -> None:
    def fail(asked: ResolvedRequest) -> Iterator[Event]:
        yield Started()
        raise OutOfMemory("6.0 GiB needed; 4.0 GiB is free.", hint="Ask for 512 px.")

    one = desk(fail)
    view = one.ended(one.jobs.submit(request()).id)
    assert view.state == "failed" and view.error is not None
    assert view.error["code"] == "out_of_memory" and view.error["hint"] == "Ask for 512 px."
    assert list(one.jobs.events(view.id, 0))[-1][1] == Failed(view.error)


def test_a_fault_of_ours_shows_no_path_and_stops_nobody(desk: Callable[..., Desk]) -> None:
    def fault(asked: ResolvedRequest) -> Iterator[Event]:
        yield Started()
        if asked.prompt == "bad":
            raise RuntimeError("/secret/path")
        yield Done(0.0)

    one = desk(fault, rows=1)
    bad, good = one.jobs.submit(request(prompt="bad")), one.jobs.submit(request())
    error = one.ended(bad.id).error
    assert error is not None and error["code"] == "internal" and "secret" not in str(error)
    assert one.ended(good.id).state == "completed"


def test_a_run_without_an_ending_fails_after_its_second_try(desk: Callable[..., Desk]) -> None:
    one = desk(lambda asked: iter([Started()]))
    assert one.ended(one.jobs.submit(request()).id).error["code"] == "worker_crashed"  # type: ignore[index]
    assert one.executor.runs == 2


def test_a_job_whose_worker_died_runs_once_more_and_keeps_what_it_had(desk: Callable[..., Desk]) -> None:
    tries: list[int] = []

    def dies_once(asked: ResolvedRequest) -> Iterator[Event]:
        tries.append(asked.seed)
        yield Progress(1, asked.count * 4, None)
        yield rendered(0)
        if len(tries) == 1:
            raise WorkerCrashed("The worker stopped.")
        yield Done(0.1)

    one = desk(dies_once)
    view = one.ended(one.jobs.submit(request(count=2, seed=7)).id)
    assert view.state == "completed" and [image.index for image in view.images] == [0, 1]
    assert tries == [7, 8]  # the second time only what was missing, with its own seed
    assert len(list((one.library._pictures).iterdir())) == 2
    (last,) = [event for _, event in one.jobs.events(view.id, 0) if isinstance(event, Progress)]
    assert (last.step, last.of) == (5, 8)  # of the whole job


def test_a_job_that_kills_every_worker_fails_and_the_queue_moves_on(desk: Callable[..., Desk]) -> None:
    def poison(asked: ResolvedRequest) -> Iterator[Event]:
        if asked.prompt == "poison":
            raise WorkerCrashed("The worker stopped.")
        yield Done(0.0)

    one = desk(poison, rows=1)
    bad, good = one.jobs.submit(request(prompt="poison")), one.jobs.submit(request())
    assert one.ended(bad.id).error["code"] == "worker_crashed"  # type: ignore[index]
    assert one.ended(good.id).state == "completed"


def test_what_ran_when_the_process_died_runs_again(desk: Callable[..., Desk]) -> None:
    first = desk(start=False)
    jobs = [first.jobs.submit(request()).id for _ in range(3)]
    with first.database.write() as connection:
        connection.exec_driver_sql("update jobs set state = 'running', attempts = 1 where id = ?", (jobs[0],))
    second = desk()
    assert [second.ended(id).state for id in jobs] == ["completed"] * 3


def test_what_died_with_the_process_twice_is_failed(desk: Callable[..., Desk]) -> None:
    first = desk(start=False)
    job = first.jobs.submit(request()).id
    with first.database.write() as connection:
        connection.exec_driver_sql("update jobs set state = 'running', attempts = 2")
    second = desk()
    assert second.jobs.get(job).error["code"] == "worker_crashed"  # type: ignore[index]
    assert isinstance(list(second.jobs.events(job, 0))[-1][1], Failed)


def test_closing_puts_running_jobs_back(desk: Callable[..., Desk]) -> None:
    started, ended = threading.Event(), threading.Event()

    def endless(asked: ResolvedRequest) -> Iterator[Event]:
        started.set()
        try:
            for step in range(2_000):
                yield Progress(step, 2_000, None)
                time.sleep(0.01)
        finally:
            ended.set()

    first = desk(endless)
    job = first.jobs.submit(request()).id
    assert started.wait(20)
    first.jobs.close()
    assert ended.is_set() and first.jobs.get(job).state == "queued"
    assert desk(quick).ended(job).state == "completed"


def test_a_second_studio_in_the_same_home_leaves_the_firsts_jobs_alone(desk: Callable[..., Desk]) -> None:
    go = threading.Event()

    def slow(asked: ResolvedRequest) -> Iterator[Event]:
        assert go.wait(20)
        yield Done(0.0)

    first = desk(slow, rows=1)
    theirs = [first.jobs.submit(request()).id for _ in range(2)]
    second = desk(quick)
    assert second.ended(second.jobs.submit(request()).id).state == "completed"
    assert second.executor.runs == 1 and not second.jobs.get(theirs[1]).final
    go.set()
    assert second.ended(theirs[1]).state == "completed"  # seen from the other side
    assert isinstance(list(second.jobs.events(theirs[1], 0))[-1][1], Done)


def test_the_final_event_comes_once_also_across_a_restart(desk: Callable[..., Desk]) -> None:
    first = desk()
    job = first.jobs.submit(request(count=2)).id
    first.ended(job)
    events = list(first.jobs.events(job, 0))
    first.close()
    second = desk()
    told = list(second.jobs.events(job, 0))
    assert told[-1] == events[-1]
    assert [event for _, event in told if isinstance(event, Picture)] == [
        event for _, event in events if isinstance(event, Picture)
    ]
    assert list(second.jobs.events(job, told[-1][0])) == []


def test_who_comes_back_after_a_restart_hears_each_picture_once(desk: Callable[..., Desk]) -> None:
    second_picture = threading.Event()

    def two_then_silence(asked: ResolvedRequest) -> Iterator[Event]:
        yield rendered(0)
        yield rendered(1)
        second_picture.set()
        for _ in range(2_000):
            yield Progress(1, 9, None)
            time.sleep(0.01)

    first = desk(two_then_silence, rows=1)
    job = first.jobs.submit(request(count=3)).id
    assert second_picture.wait(20)
    first.jobs.close()
    heard = next((number, event) for number, event in first.jobs.events(job, 0) if isinstance(event, Picture))
    assert heard[1].index == 0
    second = desk(quick)
    later = list(second.jobs.events(job, heard[0]))  # as with Last-Event-ID
    assert [event.index for _, event in later if isinstance(event, Picture)] == [1, 2]
    numbers = [number for number, _ in later]
    assert numbers == sorted(set(numbers)) and numbers[0] > heard[0]
    assert isinstance(later[-1][1], Done)


def test_a_listener_hears_a_running_job_to_its_end(desk: Callable[..., Desk]) -> None:
    one = desk(start=False)
    job = one.jobs.submit(request(count=3)).id
    heard: list[tuple[int, Event]] = []
    listener = threading.Thread(target=lambda: heard.extend(one.jobs.events(job, 0)))
    listener.start()
    one.jobs.start()
    listener.join(20)
    assert [type(event) for _, event in heard][0] is Queued
    assert len([event for _, event in heard if isinstance(event, Picture)]) == 3
    assert isinstance(heard[-1][1], Done)


def test_of_previews_and_progress_only_the_newest_is_replayed() -> None:
    live = Live()
    for step in range(100):
        live.publish(Progress(step, 200, None))
        live.publish(Preview(step % 2, bytes([step])))
    kept = [event for _, event in live.events]
    assert kept.count(Progress(99, 200, None)) == 1 and len(kept) == 3
    assert {event.data[0] for event in kept if isinstance(event, Preview)} == {98, 99}
    live.publish(Done(1.0))
    live.publish(Progress(1, 200, None))
    assert [type(event) for _, event in live.events] == [Progress, Done]


def test_waiting_ends_at_its_time_limit(desk: Callable[..., Desk]) -> None:
    one = desk(start=False)
    assert one.jobs.wait(one.jobs.submit(request()).id, 0.05).state == "queued"


@pytest.mark.parametrize("id", ["", "../x", "%00", "x" * 4096, "' or 1=1 --"])
def test_an_unknown_job_is_not_found_in_the_same_words(desk: Callable[..., Desk], id: str) -> None:
    one = desk(start=False)
    with pytest.raises(NotFound) as caught:
        one.jobs.get(id)
    assert caught.value.message == "No such job." and caught.value.code == "job_not_found"


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
