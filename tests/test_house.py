"""The rules of the house, read from the source: floors, heavy imports, no module state."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDIO = ROOT / "studio"

FLOORS = {
    "errors": 0, "catalog": 0,
    "schema": 1, "settings": 1, "prompt": 1, "edges": 1, "safetensors_header": 1, "people": 1,
    "infotext": 2, "presets": 2, "models": 2, "uploads": 2, "library": 2, "brand": 2, "safety": 2,
    "wildcards": 2,
    "accounts": 3, "sandbox": 3, "review": 3, "kits": 3, "engine": 3, "training": 3,
    "executors": 4, "palettes": 4, "logos": 4, "requests": 4, "copies": 5, "outlooks": 5,
    "jobs": 5, "trainings": 5, "campaigns": 5, "products": 5, "reports": 5, "webhooks": 5,
    "inputs": 6, "recovery": 6,
    "studio": 7, "doctor": 7,
    "api": 8, "ui": 8, "cli": 8,
}  # fmt: skip
TORCH = {"torch", "diffusers", "transformers", "peft", "accelerate", "torchvision", "xformers"}


def room_of(path: Path) -> str:
    return path.relative_to(STUDIO).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(path for path in STUDIO.rglob("*.py") if path != STUDIO / "__init__.py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the floor"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return names


def rooms_imported(path: Path) -> set[str]:
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("studio.")}
    return {room for room in rooms if room in FLOORS} | {room for room in rooms if (STUDIO / room).is_dir()}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(STUDIO)))
def test_imports_go_strictly_down(path: Path) -> None:
    room = room_of(path)
    assert room in FLOORS, f"{room} has no floor: give it one here and in the README's tree"
    for other in rooms_imported(path) - {room}:
        floors = f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        assert FLOORS[other] < FLOORS[room], floors


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(STUDIO)))
def test_torch_and_gradio_stay_in_their_rooms(path: Path) -> None:
    heads = {name.split(".")[0] for name in imports_of(path)}
    if room_of(path) not in {"engine", "training"}:
        assert not heads & TORCH
    if room_of(path) != "ui":
        assert "gradio" not in heads


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(STUDIO)))
def test_no_module_keeps_state_behind_global(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)]


def awaits(node: ast.AsyncFunctionDef) -> bool:
    waiting = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    return any(isinstance(inner, waiting) for inner in ast.walk(node))


@pytest.mark.parametrize("path", sorted((STUDIO / "api").rglob("*.py")), ids=lambda path: path.name)
def test_a_function_that_never_awaits_is_not_async(path: Path) -> None:
    """An async route without await would do its work on the event loop: everybody else would wait."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    routes = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    assert not [route.name for route in routes if not awaits(route)]


@pytest.mark.parametrize("room", ["studio.api.app", "studio.ui", "studio.cli", "studio.studio"])
def test_the_web_process_never_imports_torch(room: str) -> None:
    code = f"import sys, {room}; sys.exit(bool(set({sorted(TORCH)}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
