"""What the doctor finds, on machines made up for it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from studio import doctor
from studio.doctor import Check
from studio.settings import ROOT, Settings

CPU = {"torch": "2.13.0+cpu", "cuda": None, "gpus": [], "mps": False, "threads": 2, "torchvision": ""}


def by_name(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def have(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: versions.get(name, ""))


def test_every_check_has_figures_and_every_lack_a_way_out(tmp_path: Path) -> None:
    checks = doctor.examine(Settings(home=tmp_path), lambda: CPU)
    assert {"Python", "torch", "device", "CPU", "memory", "home", "models", "presets", "port"} <= set(
        by_name(checks)
    )
    assert all(check.found for check in checks)
    assert all(check.mend for check in checks if check.state != "ok")


def test_a_package_is_judged_by_its_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, diffusers="0.41.0", peft="0.21.2")
    found = by_name(doctor.packages())
    assert found["peft"].state == "ok"
    assert found["diffusers"].state == "warning" and "0.41.0" in found["diffusers"].found
    assert found["gradio"].state == "missing" and 'pip install "gradio' in found["gradio"].mend


def test_a_local_build_of_torch_is_within_its_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, torch="2.13.0+cpu")
    assert by_name(doctor.packages())["torch"].state == "ok"


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (CPU, "ok", "CPU, 2 threads"),
        (
            {**CPU, "gpus": [["NVIDIA H200", 141 * 2**30]], "cuda": "13.0"},
            "ok",
            "NVIDIA H200, 141 GiB (CUDA 13.0)",
        ),
        ({**CPU, "mps": True}, "ok", "Apple GPU"),
        ({"torch_error": "OSError: libcudart"}, "missing", "libcudart"),
    ],
)
def test_the_device_is_named(
    facts: dict[str, object], state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    check = by_name(doctor.torch(facts))["device"]
    assert check.state == state and words in check.found


def test_a_gpu_that_torch_cannot_use_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/" + name)
    check = by_name(doctor.torch(CPU))["device"]
    assert check.state == "warning" and "NVIDIA" in check.found and check.mend


@pytest.mark.parametrize(("version", "state"), [("0.28.0", "ok"), ("0.26.0", "missing"), ("", "ok")])
def test_a_torchvision_of_another_torch_is_missing_its_match(
    monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    have(monkeypatch, torchvision=version)
    check = by_name(doctor.torchvision(CPU))["torchvision"]
    assert check.state == state
    if state == "missing":
        assert "wants 0.28" in check.found and '"torchvision==0.28.*"' in check.mend


def test_a_torchvision_that_does_not_import_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, torchvision="0.28.0")
    check = by_name(doctor.torchvision({**CPU, "torchvision_error": "operator nms"}))["torchvision"]
    assert check.state == "missing"


def test_cpu_features_that_decide_speed_are_read(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags : fpu avx2 avx512f amx_bf16 sse\n")
    assert doctor.cpu_features(tmp_path / "cpuinfo") == ["avx2", "avx512f", "amx_bf16"]
    assert doctor.cpu_features(tmp_path / "nothing") == []


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 1048576 kB\nMemFree: 1 kB\nMemAvailable: 524288 kB\n")
    assert doctor.memory(tmp_path / "meminfo") == (2**30, 2**29)
    assert doctor.memory(tmp_path / "nothing") == (0, 0)


def test_a_taken_port_is_noticed(tmp_path: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        check = by_name(doctor.port(Settings(home=tmp_path, port=port)))["port"]
    assert check.state == "warning" and f"PORT={port + 1}" in check.mend


def test_a_default_model_that_is_not_there_is_missing(tmp_path: Path) -> None:
    check = by_name(doctor.models(Settings(home=tmp_path, model="house-model")))["models"]
    assert check.state == "missing" and "studio models add" in check.mend


def test_a_lora_and_a_preset_with_a_mistake_are_named(tmp_path: Path) -> None:
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "bad.safetensors").write_bytes(b"\x80\x04 not weights")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "ours.yaml").write_text("version: 99\n")
    settings = Settings(home=tmp_path)
    assert by_name(doctor.models(settings))["LoRA bad"].state == "warning"
    assert "supported: 1" in by_name(doctor.presets(settings))["preset ours"].found


def test_torch_is_asked_in_another_process() -> None:
    code = "import sys\nfrom studio import doctor\nfacts = doctor.ask_torch()\n"
    code += "import json; print(json.dumps([facts.get('torch'), 'torch' in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    version, imported = json.loads(done.stdout)
    assert version.startswith("2.") and not imported
