"""OpenVINO itself, without its reports home."""

from __future__ import annotations

import sys
from typing import Any

import torch

from studio.engine.backends.choice import fast_bfloat16


def openvino() -> Any:
    """The module. Its converter sends usage reports through openvino_telemetry unless that is missing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as module

    return module


def options() -> dict[str, Any]:
    """For one call at a time that uses the threads PyTorch uses, free to move between cores beside others."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if fast_bfloat16() else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
