"""What a link shows of a picture: which files, how large, and how they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from studio.library.files import write_whole
from studio.review.store import Copy
from studio.safety.outgoing import Outgoing

Give = Callable[[str], Outgoing]  # by the studio's picture id; raises NotFound

SMALL = 512  # px a side up to which a PNG is light enough for a phone
LARGEST = 2048  # px a side of what the room shows; whoever may download gets every pixel


def size_of(width: int, height: int) -> tuple[int, int]:
    """Of what is shown, in px."""
    share = min(1.0, LARGEST / max(width, height))
    return max(1, round(width * share)), max(1, round(height * share))


def suffix_of(width: int, height: int) -> str:
    return "png" if max(width, height) <= SMALL else "webp"


def make(copy: Copy, outgoing: Outgoing, folder: Path) -> None:
    """Writes the files of `copy`; the one that is shown comes last, so that it tells all are there."""
    if copy.whole is not None:
        write_whole(folder / copy.whole, outgoing.file("PNG"))
    write_whole(folder / copy.shown, outgoing.file(copy.shown.rpartition(".")[2].upper(), LARGEST))
