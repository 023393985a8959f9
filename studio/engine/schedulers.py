"""Schedulers: one instance a sample, made from the checkpoint's own config."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers

from studio.catalog import SCHEDULERS


def make_scheduler(name: str, pristine: Mapping[str, Any]) -> Any:
    """`pristine` is the checkpoint's own config: the last request's options must not leak into this one."""
    row = SCHEDULERS[name]
    return getattr(diffusers, row.diffusers_class).from_config(dict(pristine), **row.options)


def step_options(scheduler: Any, generator: Any) -> dict[str, Any]:
    """What this scheduler's `step` takes besides noise, time and latents; eta 0 as the pipelines pass it."""
    known = inspect.signature(scheduler.step).parameters
    options = {"eta": 0.0, "generator": generator}
    return {key: value for key, value in options.items() if key in known}
