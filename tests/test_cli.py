"""The command line: the API's verbs and sentences."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from studio import cli
from studio.infotext.notes import OWN
from studio.settings import ROOT

Said = tuple[int, str, str]
Run = Callable[..., Said]


def make_model(folder: Path) -> None:
    """Headers of a model in the diffusers layout, for the executor that needs no more."""
    configs: dict[str, dict[str, Any]] = {
        "unet": {"sample_size": 16, "cross_attention_dim": 160},
        "vae": {"block_out_channels": [8, 8, 8]},
        "text_encoder": {},
        "tokenizer": {},
        "controlnet-canny": {},
    }
    for part, config in configs.items():
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config))
        if part != "tokenizer":
            save_file({"weight": np.zeros((2, 2), np.float16)}, folder / part / "model.safetensors")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))


def make_lora(file: Path, width: int = 160) -> None:
    place = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file(
        {
            f"{place}.lora_A.weight": np.zeros((4, width), np.float16),
            f"{place}.lora_B.weight": np.zeros((8, 4), np.float16),
        },
        file,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STUDIO_EXECUTOR", "fake")
    make_model(tmp_path / "home" / "models" / "pocket")
    return tmp_path / "home"


@pytest.fixture
def studio(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`studio ARGUMENTS` in this process: (status, stdout, stderr)."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["studio", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capfd.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


def photo(folder: Path) -> str:
    file = folder / "photo.png"
    Image.new("RGB", (64, 64), (200, 30, 30)).save(file)
    return str(file)


def look(path: str) -> tuple[tuple[int, int], str]:
    """Size in px and the settings written into the file."""
    with Image.open(path) as picture:
        return picture.size, str(picture.info["parameters"])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from studio import cli; sys.argv = ['studio', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'gradio', 'fastapi', 'pydantic', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in ("serve", "generate", "models", "loras", "presets", "doctor"):
        assert verb in done.stdout


def test_generate_prints_a_line_a_picture(studio: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, text, _ = studio(
        "generate", "a red mug", "--count", "2", "--seed", "7", "--steps", "3", "--out", str(out)
    )
    rows = [json.loads(line) for line in text.splitlines()]
    assert status == 0 and [row["seed"] for row in rows] == [7, 8]
    for row in rows:
        assert set(row) == {"path", "seed", "seconds"}
        assert Path(row["path"]).parent == out and look(row["path"])[0] == (64, 64)


def test_without_a_folder_the_path_is_the_librarys(studio: Run, home: Path) -> None:
    _, text, _ = studio("generate", "a red mug", "--steps", "2")
    path = json.loads(text)["path"]
    assert home in Path(path).parents and look(path)[1].startswith("a red mug")


def test_every_flag_reaches_the_request(studio: Run, home: Path, tmp_path: Path) -> None:
    make_lora(tmp_path / "ink.safetensors")
    assert studio("loras", "add", str(tmp_path / "ink.safetensors"))[0] == 0
    status, text, err = studio(
        "generate", "a mug", "--negative", "hands", "--width", "128", "--height", "64", "--steps", "2",
        "--guidance", "6.5", "--scheduler", "euler", "--seed", "5", "--lora", "ink:0.4", "--model", "pocket",
        "--canny", photo(tmp_path), "--low", "50", "--high", "90", "--control-scale", "0.5",
        "--init", photo(tmp_path), "--strength", "0.6",
    )  # fmt: skip
    assert status == 0, err
    size, written = look(json.loads(text)["path"])
    assert size == (128, 64)
    for words in ("Negative prompt: hands", "Steps: 2", "CFG scale: 6.5", "Seed: 5", "ink"):
        assert words in written


def test_a_draft_says_so_in_its_settings(studio: Run) -> None:
    _, text, _ = studio("generate", "a mug", "--steps", "2", "--draft")
    with Image.open(json.loads(text)["path"]) as picture:
        assert json.loads(picture.text[OWN])["draft"] is True  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "1 to 150"),
        (["--width", "513"], "512 or 520"),
        (["--scheduler", "eulerr"], "euler"),
        (["--lora", "ink:x"], "NAME:0.8"),
        (["--lora", "ink:9"], "-4 to 4"),
        (["--model", "nope"], "pocket"),
        (["--preset", "nordik"], "nordic"),
        (["--canny", "/nowhere/a.png"], "cannot be read"),
        (["--low", "5"], "--canny"),
        (["--refiner-at", "0.7"], "--refiner NAME"),
        (["--refiner", "pocket"], "is no refiner"),
        (["--refiner", "pocket", "--refiner-at", "2"], "0.1 to 0.99"),
    ],
)
def test_a_bad_request_says_the_sentence_and_ends_with_2(
    studio: Run, arguments: list[str], words: str
) -> None:
    status, out, err = studio("generate", "a mug", *arguments)
    assert status == 2 and words in err and out == ""
    assert "Traceback" not in err and "/nowhere" not in err


def test_errors_are_json_for_programs(studio: Run) -> None:
    status, _, err = studio("generate", "a mug", "--steps", "0", "--json")
    assert status == 2 and json.loads(err)["error"]["field"] == "steps"


def test_a_setting_that_cannot_be_is_named(studio: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_ROWS", "many")
    status, _, err = studio("models")
    assert status == 2 and "STUDIO_ROWS cannot be 'many'" in err


def test_an_unknown_flag_ends_with_2(studio: Run) -> None:
    assert studio("generate", "a", "--stepz", "3")[0] == 2


def test_a_run_that_fails_ends_with_1(studio: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.errors import OutOfMemory
    from studio.executors import FakeExecutor

    def fail(self: FakeExecutor, request: Any, inputs: Any) -> Any:
        raise OutOfMemory("It needs 9.0 GiB.", hint="Ask for less.")
        yield

    monkeypatch.setattr(FakeExecutor, "run", fail)
    status, out, err = studio("generate", "a mug")
    assert (status, out, err) == (1, "", "It needs 9.0 GiB.\nAsk for less.\n")


def test_ctrl_c_cancels(home: Path) -> None:
    slow = ["a mug", "--count", "64", "--width", "1024", "--height", "1024"]
    with subprocess.Popen(
        [sys.executable, "-m", "studio.cli", "generate", *slow],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seed"] >= 0
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=150)
        finally:
            process.kill()
    assert process.returncode == 130 and err == "Cancelled.\n"


def test_models_and_loras_are_listed_and_added(studio: Run, tmp_path: Path) -> None:
    make_model(tmp_path / "other")
    make_lora(tmp_path / "ink.safetensors")
    assert studio("models", "add", str(tmp_path / "other"), "--name", "second")[0] == 0
    assert studio("loras", "add", str(tmp_path / "ink.safetensors"), "--name", "ink")[0] == 0
    models = json.loads(studio("models", "--json")[1])
    assert {"pocket", "second"} <= {row["name"] for row in models}
    loras = {row["name"]: row for row in json.loads(studio("loras", "list", "--json")[1])}
    assert loras["ink"]["rank"] == 4 and loras["ink"]["problem"] == ""
    assert "second" in studio("models")[1] and "ink" in studio("loras")[1]


def test_a_pickle_is_not_added(studio: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"\x80\x04\x95" + b"\0" * 40)
    status, _, err = studio("loras", "add", str(tmp_path / "bad.safetensors"), "--json")
    assert status == 2 and json.loads(err)["error"]["code"] == "unsafe_format"


def test_a_preset_brings_its_own_styles(studio: Run, home: Path, tmp_path: Path) -> None:
    (home / "presets").mkdir()
    (home / "presets" / "house.yaml").write_text(
        "version: 1\nname: house\nloras: [{name: ink, weight: 0.5}]\n"
    )
    make_lora(tmp_path / "ink.safetensors")
    studio("loras", "add", str(tmp_path / "ink.safetensors"))
    _, text, err = studio("generate", "a mug", "--preset", "house", "--steps", "2")
    assert "ink" in look(json.loads(text)["path"])[1], err


def test_presets_are_listed(studio: Run) -> None:
    names = {row["name"] for row in json.loads(studio("presets", "--json")[1])}
    assert {"plain", "guochao", "nordic", "neon", "product-on-white"} <= names


def test_serve_starts_app_py(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "studio.cli", "serve", "--host", "0.0.0.0", "--port", "0"], cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "0.0.0.0 can be reached by others" in done.stderr
