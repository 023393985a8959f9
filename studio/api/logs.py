"""Log lines as JSON on stderr, one object a line: what happened, where, never what a user typed.

An exception's own sentence may quote a prompt, so a line holds its kind and the places it passed.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

PLACES = 12  # of a traceback, the innermost
FIELDS = ("method", "route", "status", "seconds", "attempt")  # of a record that go into its line


class Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if record.exc_info is None else record.msg,
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info is not None and record.exc_info[0] is not None:
            line |= {"error": record.exc_info[0].__name__, "at": places(record.exc_info[2])}
        return json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)


def places(trace: TracebackType | None) -> list[str]:
    """file:line function, innermost last; files by their name alone."""
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)[-PLACES:]
    ]


def begin(level: str = "warning") -> None:
    """From now on the process logs in this form. `level` info adds a line for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("studio").setLevel(level.upper())
