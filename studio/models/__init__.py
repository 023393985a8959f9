"""The models and LoRAs that are there, from their headers alone: no torch."""

from studio.models.folders import ModelRow
from studio.models.lora_files import LoraRow
from studio.models.models import Models
from studio.models.pulls import Pulls, PullView

__all__ = ["LoraRow", "ModelRow", "Models", "PullView", "Pulls"]
