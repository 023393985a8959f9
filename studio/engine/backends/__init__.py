"""Backends: how a model's networks become callables. One row of studio.catalog.BACKENDS each."""

from studio.engine.backends.choice import Choice, choose
from studio.engine.backends.eager import Eager
from studio.engine.backends.networks import Call, Networks, Residuals

__all__ = ["Call", "Choice", "Eager", "Networks", "Residuals", "choose"]
