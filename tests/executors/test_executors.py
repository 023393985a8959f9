"""One contract for every executor: the same tests, with a tiny random model for those that need one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from studio.errors import BadRequest, NotReady, OutOfMemory, StudioError, WorkerCrashed
from studio.executors import Executor, FakeExecutor, InlineExecutor, LocalExecutor, make_executor
from studio.executors.routes import error_of
from studio.models import Models
from studio.schema import Done, Event, Preview, Progress, Rendered, ResolvedRequest, Started
from studio.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))
import tiny  # noqa: E402

MANY = 150  # steps: long enough to be stopped in the middle


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    tiny.save_sd(home / "models" / "tiny")
    return Settings(home=home, model="tiny", device="cpu")


@pytest.fixture(scope="module", params=["fake", "inline", "local"])
def executor(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Executor]:
    made = make_executor(settings.model_copy(update={"executor": request.param}), Models(settings))
    if isinstance(made, FakeExecutor):
        made = FakeExecutor(seconds_per_step=0.001)
    made.start()
    until_ready(made)
    yield made
    made.close()


def until_ready(executor: Executor) -> None:
    until(executor.ready)


def until(condition: Any, seconds: float = 280.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.02)


def request(**fields: Any) -> ResolvedRequest:
    given = {
        "prompt": "a red mug", "negative_prompt": "", "model": "tiny", "width": 16, "height": 16, "steps": 3,
        "guidance": 5.0, "scheduler": "euler", "seed": 7,
    }  # fmt: skip
    return ResolvedRequest(**(given | fields))


def finish(executor: Executor, asked: ResolvedRequest) -> list[Event]:
    with closing(executor.run(asked, {})) as events:  # type: ignore[type-var]
        return list(events)


def pictures(events: list[Event]) -> list[Rendered]:
    return [event for event in events if isinstance(event, Rendered)]


def test_a_run_starts_progresses_renders_and_is_done(executor: Executor) -> None:
    events = finish(executor, request(count=2))
    assert isinstance(events[0], Started) and isinstance(events[-1], Done)
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == sorted(steps) and steps[-1] == 6
    assert all(event.of == 6 for event in events if isinstance(event, Progress))
    assert sorted((picture.index, picture.seed) for picture in pictures(events)) == [(0, 7), (1, 8)]
    for picture in pictures(events):
        assert picture.data.startswith(b"\x89PNG") and (picture.width, picture.height) == (16, 16)
    for preview in (event for event in events if isinstance(event, Preview)):
        assert preview.data.startswith(b"\xff\xd8")


def test_the_same_request_gives_the_same_picture_and_another_seed_another(executor: Executor) -> None:
    first, again, other = (pictures(finish(executor, request(seed=seed)))[0].data for seed in (1, 1, 2))
    assert first == again != other


def test_closing_the_generator_cancels(executor: Executor) -> None:
    events = executor.run(request(steps=MANY, count=8), {})
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Progress)
    events.close()  # type: ignore[attr-defined]
    assert finish(executor, request())[-1].__class__ is Done


def test_a_cancelled_run_leaves_the_engine_idle(executor: Executor) -> None:
    """A run that went on in secret would keep the engine busy."""
    if isinstance(executor, InlineExecutor):
        events = executor.run(request(steps=MANY, count=32), {})
        next(events)
        events.close()  # type: ignore[attr-defined]
        assert executor._engine is not None
        until(executor._engine.idle, seconds=10)


def test_a_generator_that_was_never_started_submits_nothing(executor: Executor) -> None:
    executor.run(request(steps=MANY, count=64), {}).close()  # type: ignore[attr-defined]
    assert finish(executor, request())[-1].__class__ is Done


def test_two_runs_at_once_interleave(executor: Executor) -> None:
    seen: list[str] = []
    both = threading.Barrier(2)

    def follow(name: str) -> None:
        both.wait()
        for event in executor.run(request(steps=40), {}):
            if isinstance(event, Progress):
                seen.append(name)

    threads = [threading.Thread(target=follow, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turns = sum(1 for one, other in zip(seen, seen[1:], strict=False) if one != other)
    assert seen.count("a") and seen.count("b") and turns > 5, "".join(seen)


def test_a_short_run_ends_while_a_long_one_goes_on(executor: Executor) -> None:
    with closing(executor.run(request(steps=MANY, count=16), {})) as long:  # type: ignore[type-var]
        next(long)
        assert isinstance(finish(executor, request(steps=2))[-1], Done)
        assert isinstance(next(long), Progress)


def test_a_failing_run_raises_and_leaves_the_others_alone(executor: Executor) -> None:
    if isinstance(executor, FakeExecutor):
        pytest.skip("nothing fails without a model")
    with closing(executor.run(request(steps=20), {})) as good:  # type: ignore[type-var]
        next(good)
        with pytest.raises(StudioError) as caught:
            finish(executor, request(init_image="gone"))
        assert caught.value.code == "bad_request" and caught.value.field == "init_image"
        assert isinstance(list(good)[-1], Done)
    with pytest.raises(StudioError) as caught:
        finish(executor, request(model="gone"))
    assert caught.value.code == "model_not_found"


def test_it_says_how_it_is(executor: Executor) -> None:
    finish(executor, request())
    status = executor.status()
    assert status.ready and status.device
    if not isinstance(executor, FakeExecutor):
        assert dict(status.resident).keys() == {"tiny"} and status.versions["torch"]


def test_closing_ends_the_runs_and_refuses_new_ones(settings: Settings) -> None:
    for made in (FakeExecutor(0.001), InlineExecutor(settings, Models(settings))):
        made.start()
        until_ready(made)
        assert_closing_ends_runs(made)


def assert_closing_ends_runs(executor: Executor) -> None:
    events = executor.run(request(steps=MANY, count=8), {})
    next(events)
    executor.close()
    with pytest.raises(NotReady):
        list(events)
    with pytest.raises(NotReady):
        finish(executor, request())
    assert not executor.ready()


def worker_of(executor: LocalExecutor) -> Any:
    assert executor._worker is not None
    return executor._worker._process


def test_the_worker_ignores_ctrl_c_and_a_killed_one_is_started_again(executor: Executor) -> None:
    """The runs it held fail, the next one works."""
    if not isinstance(executor, LocalExecutor):
        pytest.skip("only local has a worker")
    first = worker_of(executor)
    os.kill(first.pid, signal.SIGINT)
    assert isinstance(finish(executor, request())[-1], Done)
    events = executor.run(request(steps=MANY, count=8), {})
    next(events)
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashed, match="signal 9"):
        list(events)
    assert isinstance(finish(executor, request())[-1], Done)
    assert executor.ready() and worker_of(executor).pid != first.pid


def test_a_model_that_is_not_there_leaves_a_worker_that_serves_and_can_be_closed(settings: Settings) -> None:
    """Closing works even while the process is stopped and takes no signal but one."""
    made = LocalExecutor(settings.model_copy(update={"model": "gone"}))
    made.start()
    assert isinstance(finish(made, request())[-1], Done)
    assert not made.ready()
    process = worker_of(made)
    os.kill(process.pid, signal.SIGSTOP)
    made.close()
    assert process.exitcode in (-signal.SIGTERM, -signal.SIGKILL)
    with pytest.raises(NotReady):
        finish(made, request())


def test_closing_while_a_run_waits_for_the_worker_ends_it(settings: Settings) -> None:
    made = LocalExecutor(settings)
    made.start()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            finish(made, request())
        except NotReady as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    made.close()
    waiting.join(10)
    assert raised


PARENT = """
import sys, time
from pathlib import Path
from studio.executors import LocalExecutor
from studio.settings import Settings

if __name__ == "__main__":
    executor = LocalExecutor(Settings(home=Path(sys.argv[1]), model="tiny", device="cpu"))
    executor.start()
    while not executor.ready():
        time.sleep(0.02)
    assert "torch" not in sys.modules
    print(executor._worker._process.pid, flush=True)
    time.sleep(600)
"""


def test_the_worker_ends_by_itself_when_its_parent_is_killed(settings: Settings, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = str(Path(__file__).parent.parent.parent)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(settings.home)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": root},
    )
    with parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.kill()
    until(lambda: not alive(worker), seconds=10)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_unknown_executor_is_refused_with_the_nearest_name(settings: Settings) -> None:
    with pytest.raises(BadRequest) as caught:
        make_executor(settings.model_copy(update={"executor": "locl"}), Models(settings))
    assert "local" in caught.value.hint


def test_errors_come_back_as_what_they_were() -> None:
    error = error_of(OutOfMemory("needs 4 GiB", hint="smaller", field="width").as_dict())
    assert type(error) is OutOfMemory and error.field == "width" and error.hint == "smaller"
    assert error_of(StudioError("x", code="new_code").as_dict()).code == "new_code"
