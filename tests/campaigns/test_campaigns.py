"""Campaigns from sheet to files: every row exactly once, whatever happens on the way."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from folders import make_model
from PIL import Image

from studio.brand.grid import read_axis
from studio.brand.sheet import read_sheet
from studio.campaigns import CampaignView, Options
from studio.errors import BadRequest, Conflict, NotFound, QueueFull
from studio.executors import FakeExecutor
from studio.people import Person, speaking
from studio.schema import GenerationRequest
from studio.settings import ROOT, Settings
from studio.studio import Studio

Make = Callable[..., Studio]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    opened: list[Studio] = []
    make_model(tmp_path / "home" / "models" / "pocket")

    def open_one(step: float = 0.0, start: bool = True, **fields: object) -> Studio:
        settings = Settings(home=tmp_path / "home", **{"rows": 2, **fields})  # type: ignore[arg-type]
        studio = Studio.open(settings, FakeExecutor(step))
        opened.append(studio)
        if start:
            studio.start()
        return studio

    yield open_one
    for studio in opened:
        studio.close()


def sheet(rows: int = 6, scenes: str = "on a table", **more: str) -> bytes:
    head = ["sku", "product", "scene", "seed", "steps", *more]
    lines = [[f"A-{row}", "mug", scenes, str(row), "2", *more.values()] for row in range(rows)]
    out = io.StringIO()
    csv.writer(out).writerows([head, *lines])
    return out.getvalue().encode()


def run(studio: Studio, data: bytes, options: Options | None = None) -> CampaignView:
    return finished(studio, studio.campaigns.create(read_sheet(data), options or Options(), "spring").id)


def finished(studio: Studio, id: str) -> CampaignView:
    until = time.monotonic() + 60
    while (view := studio.campaigns.get(id)).state == "running":
        assert time.monotonic() < until, view
        time.sleep(0.05)
    return view


def test_every_row_becomes_a_picture_under_its_name(make: Make) -> None:
    studio = make()
    view = run(studio, sheet(3, "on a table|on a podium", channel="web|print"))
    assert (view.total, dict(view.counts)) == (12, {"done": 12})
    paths = [one.path for one in studio.campaigns.pictures(view.id)]
    assert paths[:3] == [
        "web/A-0_on-a-table_128x128_0.png", "print/A-0_on-a-table_128x128_0.png",
        "web/A-0_on-a-podium_128x128_0.png",
    ]  # fmt: skip
    assert len(set(paths)) == 12


def test_pictures_with_one_name_are_all_kept(make: Make) -> None:
    studio = make()
    view = run(studio, sheet(3), Options(pattern="{product}"))
    names = [one.name for one in studio.campaigns.pictures(view.id)]
    assert names == ["mug.png", "mug-2.png", "mug-3.png"]


def test_the_zip_holds_pictures_results_and_contact_sheet(make: Make) -> None:
    studio = make()
    view = run(studio, sheet(2, "on a table", channel="web|print", product_note="=1+2"))
    stream = io.BytesIO()
    studio.campaigns.write_zip(view.id, stream)
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        assert sorted(names)[:1] == ["contact-sheet.png"] and "results.csv" in names
        assert sum(name.startswith("web/") for name in names) == 2
        assert Image.open(archive.open("web/A-0_on-a-table_128x128_0.png")).size == (128, 128)
        rows = list(csv.DictReader(io.StringIO(archive.read("results.csv").decode("utf-8-sig"))))
    assert [row["sku"] for row in rows] == ["A-0", "A-0", "A-1", "A-1"]
    assert {row["state"] for row in rows} == {"done"} and rows[0]["seed"] == "0"
    one = io.BytesIO()
    studio.campaigns.write_zip(view.id, one, "web")
    with zipfile.ZipFile(one) as archive:
        assert not any(name.startswith("print/") for name in archive.namelist())
    with pytest.raises(NotFound):
        studio.campaigns.write_zip(view.id, io.BytesIO(), "tv")


def test_results_hold_no_formula(make: Make) -> None:
    studio = make()
    view = run(studio, b'sku,prompt,steps\n"=HYPERLINK(""http://x"")",@SUM(A1) a mug,1\n')
    text = studio.campaigns.results(view.id).decode("utf-8-sig")
    row = list(csv.DictReader(io.StringIO(text)))[0]
    assert row["sku"].startswith("'=") and row["prompt"].startswith("'@")


def test_a_bad_sheet_starts_nothing(make: Make) -> None:
    studio = make()
    with pytest.raises(BadRequest, match=r"B3 \(preset\): No preset 'plian'.*C3 \(scheduler\)"):
        run(studio, b"prompt,preset,scheduler\na mug,,\na cup,plian,eulerr\n")
    with pytest.raises(BadRequest, match="materiel"):
        run(studio, sheet(1), Options(pattern="{materiel}"))
    assert studio.campaigns.recent() == [] and studio.jobs_list() == []


def test_a_campaign_larger_than_the_queue_waits_for_room(make: Make) -> None:
    studio = make(queue=2)
    assert dict(run(studio, sheet(12)).counts) == {"done": 12}
    assert len(studio.jobs_list()) == 12


def test_failed_rows_are_retried_and_the_others_left_alone(make: Make) -> None:
    studio = make()
    id = studio.upload(picture())
    data = f"sku,prompt,init_image,steps\n1,a mug,,1\n2,a cup,{id},1\n".encode()
    file = next((studio.settings.home / "uploads").iterdir())
    studio.campaigns.close()  # nothing is fed meanwhile
    begun = studio.campaigns.create(read_sheet(data), Options(), "spring")
    content = file.read_bytes()
    file.unlink()
    studio.campaigns.advance(begun.id)
    drive(studio, begun.id)
    view = studio.campaigns.get(begun.id)
    assert dict(view.counts) == {"done": 1, "failed": 1}
    bad = studio.campaigns.shots(view.id)[1]
    assert bad.error is not None and bad.error["code"] == "image_not_found"
    file.write_bytes(content)
    studio.campaigns.retry(view.id)
    drive(studio, view.id)
    good, again = studio.campaigns.shots(view.id)
    assert (good.attempt, again.attempt, again.state) == (0, 1, "done")
    with pytest.raises(Conflict):
        studio.campaigns.retry(view.id)


def drive(studio: Studio, id: str) -> None:
    """What the thread does, where a test has none."""
    until = time.monotonic() + 30
    while studio.campaigns.get(id).state == "running":
        assert time.monotonic() < until
        studio.campaigns.advance(id)
        time.sleep(0.02)


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (128, 128), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()


def test_an_edited_row_runs_again_and_the_others_stay_as_they_are(make: Make) -> None:
    studio = make()
    view = run(studio, sheet(3, "on a table"))
    before = {shot.place: shot.job for shot in studio.campaigns.shots(view.id)}
    studio.campaigns.edit(view.id, 3, {"product": "teapot", "scene": "on a table|in snow"})
    finished(studio, view.id)
    after = studio.campaigns.shots(view.id)
    assert [(shot.place, shot.row) for shot in after] == [(0, 2), (1, 3), (2, 4), (3, 3)]
    assert [shot.job == before.get(shot.place) for shot in after] == [True, False, True, False]
    assert "teapot" in after[1].request.prompt and "in snow" in after[3].request.prompt
    assert studio.campaigns.sheet(view.id).rows[1].cells["product"] == "teapot"
    with pytest.raises(BadRequest, match="E3"):
        studio.campaigns.edit(view.id, 3, {"steps": "many"})
    with pytest.raises(BadRequest, match="No column"):
        studio.campaigns.edit(view.id, 3, {"colour": "red"})
    with pytest.raises(NotFound):
        studio.campaigns.edit(view.id, 9, {"product": "cup"})


def test_a_changed_table_runs_the_changed_rows_only(make: Make) -> None:
    studio = make()
    view = run(studio, sheet(3))
    table = studio.campaigns.store.table(view.id)
    with pytest.raises(Conflict):
        studio.campaigns.update(view.id, table)
    table[2][1] = "lamp"
    studio.campaigns.update(view.id, table)
    finished(studio, view.id)
    assert [shot.attempt for shot in studio.campaigns.shots(view.id)] == [0, 1, 0]


def test_cancel_stops_the_rest_and_keeps_what_is_there(make: Make) -> None:
    studio = make(step=0.02)
    begun = studio.campaigns.create(read_sheet(sheet(20)), Options(), "spring")
    while not studio.campaigns.get(begun.id).counts.get("done"):
        time.sleep(0.01)
    view = studio.campaigns.cancel(begun.id)
    assert view.state == "cancelled" and view.finished == 20
    done = view.counts["done"]
    time.sleep(0.3)
    assert studio.campaigns.get(begun.id).counts["done"] == done
    assert len(studio.campaigns.pictures(begun.id)) >= done
    with pytest.raises(Conflict):
        studio.campaigns.cancel(begun.id)
    studio.campaigns.retry(begun.id)
    assert dict(finished(studio, begun.id).counts) == {"done": 20}


def test_asking_the_queue_twice_for_one_row_makes_one_job(make: Make) -> None:
    """What happens when a studio dies after the queue took a row and before the row says so."""
    studio = make(start=False)
    view = studio.campaigns.create(read_sheet(sheet(3)), Options(), "spring")
    for shot in studio.campaigns.shots(view.id):
        studio._give(shot.request, shot.key)
    studio.campaigns.advance(view.id)
    assert len(studio.jobs_list()) == 3
    assert {shot.state for shot in studio.campaigns.shots(view.id)} == {"given"}


def test_rows_wait_while_the_queue_is_full(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = make(start=False)
    view = studio.campaigns.create(read_sheet(sheet(3)), Options(), "spring")

    def full(*_: object, **__: object) -> None:
        raise QueueFull("full")

    monkeypatch.setattr(studio.campaigns, "_give", full)
    studio.campaigns.advance(view.id)
    assert dict(studio.campaigns.get(view.id).counts) == {"waiting": 3}


def test_a_campaign_belongs_to_who_started_it(make: Make) -> None:
    studio = make(start=False)
    with speaking(Person("ada", frozenset({"read", "generate"}))):
        view = studio.campaigns.create(read_sheet(sheet(1)), Options(), "spring")
    with speaking(Person("bob", frozenset({"read", "generate"}))):
        assert studio.campaigns.recent() == []
        for act in (studio.campaigns.get, studio.campaigns.shots, studio.campaigns.pictures,
                    studio.campaigns.cancel, studio.campaigns.retry, studio.campaigns.results):  # fmt: skip
            with pytest.raises(NotFound):
                act(view.id)
    assert [one.id for one in studio.campaigns.recent()] == [view.id]


def test_a_campaign_belongs_to_one_process_at_a_time(make: Make) -> None:
    first, second = make(start=False), make(start=False)
    view = first.campaigns.create(read_sheet(sheet(1)), Options(), "spring")
    (first.settings.home / "campaigns").mkdir()
    assert first.campaigns._keep(view.id) and not second.campaigns._keep(view.id)
    first.campaigns.close()
    assert second.campaigns._keep(view.id)


def test_a_forecast_learns_from_pictures_that_are_there(make: Make) -> None:
    studio = make(step=0.001)
    plan = studio.campaigns.plan(read_sheet(sheet(4)), Options())
    assert studio.campaigns.forecast(plan).seconds is None
    run(studio, sheet(2))
    found = studio.campaigns.forecast(plan)
    assert found.seconds is not None and found.pictures == 4 and found.bytes > 1000 and found.free > 0


def test_a_grid_is_one_picture_with_a_cell_for_every_pair(make: Make) -> None:
    studio = make()
    base = GenerationRequest(prompt="a red mug", steps=2)
    axes = [read_axis("prompt", "red, blue, green"), read_axis("guidance", "2-6 (+2)")]
    view = studio.campaigns.create_grid(base, axes, "try")
    finished(studio, view.id)
    shots = studio.campaigns.shots(view.id)
    asked = [(shot.request.prompt, shot.request.guidance) for shot in shots]
    assert asked[:4] == [("a red mug", 2), ("a blue mug", 2), ("a green mug", 2), ("a red mug", 4)]
    assert len({shot.request.seed for shot in shots}) == 1 and len(shots) == 9
    whole = Image.open(io.BytesIO(studio.campaigns.contact_sheet(view.id)))
    assert whole.width > 3 * 192 and whole.height > 3 * 192
    with pytest.raises(Conflict):
        studio.campaigns.edit(view.id, 2, {"x": "pink"})


KILLED = 5  # times


def test_killed_in_the_middle_nothing_is_lost_and_nothing_is_made_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_model(home / "models" / "pocket")
    script = Path(__file__).with_name("feed_campaign.py")
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    (tmp_path / "sheet.csv").write_bytes(sheet(24))
    for round in range(KILLED):
        command = [sys.executable, str(script), str(home), str(tmp_path / "sheet.csv")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            for _ in range(1 + 2 * round):  # so many pictures are there when it dies
                if not process.stdout.readline():
                    break
            process.send_signal(signal.SIGKILL)
    settings = Settings(home=home, rows=2)
    with closing(Studio.open(settings, FakeExecutor())) as studio:
        studio.start()
        (view,) = studio.campaigns.recent()
        assert dict(finished(studio, view.id).counts) == {"done": 24}
        assert len(studio.jobs_list(200)) == 24
        assert sorted(image.seed for image in studio.images(limit=200)) == list(range(24))
        assert [one.name for one in studio.campaigns.pictures(view.id)] == [
            f"A-{row}_on-a-table_128x128_{row}.png" for row in range(24)
        ]
