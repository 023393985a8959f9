"""Which networks each resident model is run with: PyTorch's at once, faster ones when they are made."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from studio.engine.backends.choice import Choice
from studio.engine.backends.eager import Eager
from studio.engine.backends.networks import Networks
from studio.engine.weights import Located, ModelBundle
from studio.settings import Settings


class Workshop:
    """All calls come from the engine's thread."""

    def __init__(self, settings: Settings, choice: Choice) -> None:
        self._settings, self._choice = settings, choice
        self._eager: WeakKeyDictionary[ModelBundle, Eager] = WeakKeyDictionary()

    def take(self, row: Located, bundle: ModelBundle) -> None:
        """A model has come into memory."""

    def networks(self, bundle: ModelBundle) -> Networks:
        """For a job that begins now; it keeps them to its end."""
        return Eager(bundle)

    def close(self) -> None:
        """Ends what is being made."""
