"""`studio campaign`: a sheet in, named files out; again, it goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from folders import make_model

from studio import cli

SHEET = "sku,product,scene,seed,steps,channel,control image\nA-1,mug,on a table|in snow,1,2,web,\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    make_model(tmp_path / "home" / "models" / "pocket")
    (tmp_path / "spring.csv").write_text(SHEET, encoding="utf-8")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["studio", "campaign", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_a_sheet_becomes_a_folder_of_named_pictures_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (str(place / "spring.csv"), "--out", str(place / "out"))
    assert run(monkeypatch, *words) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["A-1_on-a-table_128x128_1.png", "A-1_in-snow_128x128_1.png"]
    assert [Path(row["path"]).name for row in rows] == names
    assert {row["sku"] for row in rows} == {"A-1"} and all(Path(row["path"]).is_file() for row in rows)
    with (place / "out" / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done", "done"]
    assert (place / "out" / "contact-sheet.png").is_file()
    before = {path: path.stat().st_mtime_ns for path in (place / "home" / "pictures").iterdir()}
    assert run(monkeypatch, *words) == 0
    assert {path: path.stat().st_mtime_ns for path in (place / "home" / "pictures").iterdir()} == before


def test_a_look_at_a_sheet_makes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bad.csv").write_text("sku,prompt,seed\n1,a mug,x\n2,a cup,7\n", encoding="utf-8")
    assert run(monkeypatch, str(place / "bad.csv"), "--check", "--json") == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["pictures"], said["problems"][0]["cell"]) == (1, "C2")
    assert not (place / "bad").exists()
    assert run(monkeypatch, str(place / "bad.csv"), "--json") == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "bad_sheet"
    assert run(monkeypatch, str(place / "nothing.csv")) == 2
