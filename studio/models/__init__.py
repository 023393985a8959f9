"""The models, ControlNets and LoRAs that are there, from their headers alone: no torch."""

from studio.models.controls import ControlRow
from studio.models.folders import ModelRow
from studio.models.intake import Added, add
from studio.models.lora_files import LoraRow
from studio.models.models import Models
from studio.models.pulls import Pulls, PullView

__all__ = ["Added", "ControlRow", "LoraRow", "ModelRow", "Models", "PullView", "Pulls", "add"]
