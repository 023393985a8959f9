"""Brands as data: one YAML file each, applied to a request by a pure function."""

from studio.presets.apply import apply
from studio.presets.preset import Preset, read_preset
from studio.presets.presets import Presets

__all__ = ["Preset", "Presets", "apply", "read_preset"]
