from __future__ import annotations

import pytest
import tiny
import torch
from drive import Bench, Shelf

from studio.engine import memory
from studio.settings import Settings


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    home = tmp_path_factory.mktemp("tiny")
    models = {
        "sd": tiny.save_sd(home / "sd"),
        "other": tiny.save_sd(home / "other", seed=8, text_seed=9, vae_seed=10),
        "paint": tiny.save_sd(home / "paint", in_channels=9, text_seed=11, vae_seed=12),
        "velocity": tiny.save_sd(home / "velocity", prediction="v_prediction"),
        "distilled": tiny.save_sd(home / "distilled", time_cond_proj_dim=8),
        "xl": tiny.save_xl(home / "xl"),
    }
    loras = {
        "warm": tiny.save_lora(home / "warm.safetensors", tiny.unet(), seed=1, rank=4),
        "cold": tiny.save_lora(home / "cold.safetensors", tiny.unet(), seed=2, rank=8),
    }
    return Shelf(models, loras)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(device="cpu", model="sd", rows=8)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bench(shelf: Shelf) -> Bench:
    return Bench(shelf)


@pytest.fixture
def nothing_but_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budgets here are of tiny models: the rest of the process would be a thousand times as much."""
    monkeypatch.setattr(memory, "process", lambda device: 0)
