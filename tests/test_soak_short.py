"""The short form of bench/soak_kill.py: what it counts must be nothing, and with a guard gone something."""

from __future__ import annotations

import os
import subprocess
import sys

from studio.settings import ROOT


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / "soak_kill.py"), *arguments], cwd=ROOT, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_kills_lose_nothing() -> None:
    done = soak("--kills", "1", "--batches", "2", "--full", "1")
    assert done.returncode == 0 and "all right" in done.stdout, done.stdout


def test_a_studio_that_adopts_nothing_is_caught() -> None:
    done = soak("--kills", "1", "--batches", "0", "--full", "0", "--without", "adopt")
    assert done.returncode == 1 and "unfinished" in done.stdout, done.stdout
