"""Where files from outside are looked at: a process that may little, for one file, for a short time."""

from studio.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
