"""A set's pictures before and after: what the crop keeps, and what training sees. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from studio.training.buckets import Size, buckets, crop, nearest
from studio.training.dataset import Dataset, Entry, picture_file
from studio.training.forecast import unit_of

SIDE = 160  # px, the longer side of a picture that is shown


@dataclass(frozen=True)
class Frame:
    """`box`: the part that is kept, (left, top, right, bottom) in px. `bucket`: the size it then gets."""

    box: tuple[int, int, int, int]
    bucket: Size

    @property
    def kept(self) -> tuple[int, int]:
        left, top, right, bottom = self.box
        return right - left, bottom - top


@dataclass(frozen=True)
class Pair:
    """`before`, `after`: small JPEGs of the picture and of what training sees."""

    entry: Entry
    frame: Frame
    before: bytes
    after: bytes


def frame_of(entry: Entry, size: int, model: Path) -> Frame:
    """`size`: px a side that is trained at. `model`: its folder, which says what sides it takes."""
    bucket = nearest(entry.width, entry.height, buckets(size, unit_of(model)))
    return Frame(crop(entry.width, entry.height, bucket), bucket)


def pairs(home: Path, dataset: Dataset, size: int, model: Path, most: int) -> Iterator[Pair]:
    """Of the first `most` pictures in use, those first that lose most of themselves."""
    framed = [(entry, frame_of(entry, size, model)) for entry in dataset.used]
    framed.sort(key=lambda pair: pair[1].kept[0] * pair[1].kept[1] / (pair[0].width * pair[0].height))
    for entry, frame in framed[:most]:
        with Image.open(picture_file(home, dataset, entry)) as opened:
            picture = opened.convert("RGB")
        after = picture.resize(frame.bucket, Image.Resampling.LANCZOS, box=frame.box)
        yield Pair(entry, frame, _small(picture), _small(after))


def _small(picture: Image.Image) -> bytes:
    shown = picture.copy()
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = BytesIO()
    shown.save(out, "JPEG", quality=85)
    return out.getvalue()
