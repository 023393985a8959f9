"""`studio generate --product` and sheets that name product pictures, on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio import cli

Run = Callable[..., tuple[int, str, str]]
RED = (200, 30, 40)


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("STUDIO_HOME", str(home))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")

    def ran(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["studio", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capfd.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return ran


@pytest.fixture
def tin(tmp_path: Path) -> str:
    canvas = Image.new("RGBA", (60, 60))
    canvas.paste((*RED, 255), (10, 10, 50, 50))
    canvas.save(tmp_path / "tin.png")
    return str(tmp_path / "tin.png")


def test_a_product_is_put_where_it_was_told(run: Run, tin: str) -> None:
    status, out, err = run(
        "generate", "a table", "--steps", "2", "--product", tin, "--product-at", "0.25,0.9,0.3",
        "--product-edge", "0", "--product-shadow", "0", "--background", "transparent",
    )  # fmt: skip
    assert status == 0, err
    picture = np.asarray(Image.open(json.loads(out)["path"]))
    rows, columns = np.nonzero(picture[..., 3])
    assert (rows.max() + 1, columns.min(), columns.max() + 1) == (115, 13, 51)  # of 128 px
    assert {tuple(one) for one in picture[rows, columns].tolist()} == {(*RED, 255)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--product-at", "0.5"], "--product FILE"),
        (["--product-edges"], "--product FILE"),
        (["--product", "TIN", "--product-at", "left"], "0.5,0.8,0.4"),
        (["--product", "TIN", "--product-at", "1,1,1,1"], "0.5,0.8,0.4"),
        (["--product", "TIN", "--product-at", "0.5,7"], "product.y"),
        (["--product", "/nowhere/a.png"], "cannot be read"),
        (["--background", "beach"], "transparent"),
    ],
)
def test_a_place_that_cannot_be_says_so_and_ends_with_2(
    run: Run, tin: str, arguments: list[str], words: str
) -> None:
    status, out, err = run("generate", "a mug", *(tin if one == "TIN" else one for one in arguments))
    assert status == 2 and words in err and out == "" and "Traceback" not in err and "/nowhere" not in err


def test_a_look_at_a_sheet_finds_the_pictures_beside_it(run: Run, tin: str, tmp_path: Path) -> None:
    sheet = tmp_path / "spring.csv"
    sheet.write_text("product,product image,control image\ntin,tin.png,tin.png\n", encoding="utf-8")
    status, out, err = run("campaign", str(sheet), "--check", "--json")
    assert status == 0 and json.loads(out)["problems"] == [], err
    sheet.write_text("product,product image\ntin,tim.png\n", encoding="utf-8")
    status, out, _ = run("campaign", str(sheet), "--check", "--json")
    assert status == 2 and json.loads(out)["problems"][0]["cell"] == "B2"
