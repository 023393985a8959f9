"""What somebody brings: a model, a ControlNet or a LoRA, told apart by content and put where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.errors import BadRequest
from studio.models.controls import ControlRow
from studio.models.folders import INDEX, ModelRow, read_config
from studio.models.layout_control import is_control
from studio.models.lora_files import DOWN, LoraRow
from studio.models.models import Models
from studio.safetensors_header import read_header

Added = ModelRow | ControlRow | LoraRow


def add(
    models: Models, path: Path, name: str | None = None, control: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Added:  # fmt: skip
    """`control`: what a ControlNet reads, None = as its name tells. `notes`: source and revision.

    Raises what Models.add_model, Models.add_lora and Controls.add do; BadRequest (`not_a_controlnet`) where
    `control` is given for something else.
    """
    kind = _kind(models, path)
    if kind == "ControlNet":
        name = models.check_free(path.resolve().stem if name is None else name)
        return models.controls.add(path, name, control, notes or {})
    if control is not None:
        raise BadRequest(f"That is a {kind}, no ControlNet.", field="control", code="not_a_controlnet")
    if kind == "LoRA":
        return models.add_lora(path, name)
    return models.add_model(path, name, notes)


def _kind(models: Models, path: Path) -> str:
    if path.is_file():
        models.vet(path, False)
        names = read_header(path).tensors
        return "ControlNet" if is_control(names) else "LoRA" if any(map(DOWN.search, names)) else "model"
    alone = not (path / INDEX).is_file()
    told = str(read_config(path / "config.json").get("_class_name")) if alone else ""
    return "ControlNet" if "ControlNet" in told else "model"
