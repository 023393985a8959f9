"""The only room that imports torch (with training/): a request in, pictures out, many jobs at once."""

from studio.engine.engine import Engine

__all__ = ["Engine"]
