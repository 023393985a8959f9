"""Words for the index of pictures: Chinese and Japanese have no blanks, so each of their signs is a word."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from studio.library.marks import mark_of

MAX_WORDS = 16  # of one search

SIGN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
PIECE = re.compile(rf"[{SIGN}]|[^\W{SIGN}_]+")


def words_for(request: Mapping[str, Any], seed: int, created: float, colours: tuple[str, ...] = ()) -> str:
    """All that a picture is found by. `model:pocket`, `date:2026-11` and the like are words as others are."""
    named = [f"model:{request['model']}", f"preset:{request['preset'] or 'none'}", request["scheduler"]]
    named += [f"lora:{lora['name']}" for lora in request["loras"]]
    named += [f"date:{time.strftime('%Y-%m-%d', time.localtime(created))}", f"seed:{seed}"]
    named.append(f"mark:{mark_of(request, seed)}")
    words = [request["prompt"], *named, *(f"colour:{name}" for name in colours)]
    return " ".join(words).casefold().replace("\0", " ")  # PostgreSQL's text holds no NUL


def indexed(words: str) -> str:
    """What the index is given for `words`: case-folded pieces with blanks between them."""
    return " ".join(PIECE.findall(words.casefold()))


def phrase(word: str) -> str:
    """The index's query for one word: its pieces in a row, the last one perhaps unfinished; or empty."""
    pieces = PIECE.findall(word.casefold())
    return f'"{" ".join(pieces)}"*' if pieces else ""


def words_of(search: str) -> list[str]:
    return search.casefold().replace("\0", " ").split()[:MAX_WORDS]
