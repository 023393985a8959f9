"""Many pictures on one: a contact sheet with captions, and a grid with labelled axes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

MAX_TILES = 1_000  # of one sheet; more would be too small to tell apart
SIDE = 192  # px of a tile's longer side
LEAST = 64  # px of it on a sheet with very many
MAX_PIXELS = 24_000_000  # of the whole sheet
GAP, MARGIN, LINE = 14, 28, 15  # px
PAPER, INK, QUIET = (255, 255, 255), (28, 27, 25), (112, 108, 102)
# Files that hold Chinese; Pillow's own font, which is always there, has none.
FONTS = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/System/Library/Fonts/PingFang.ttc",
    "C:/Windows/Fonts/msyh.ttc",
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """`picture`: an encoded picture, None for one that is not there. `caption`: one line under it."""

    picture: bytes | None
    caption: str = ""


def contact_sheet(title: str, tiles: Sequence[Tile]) -> bytes:
    """PNG of the tiles in rows, as near to a 4:3 page as whole rows allow."""
    shown = tiles[:MAX_TILES]
    side = _side(len(shown))
    step = side + GAP
    columns = max(1, min(len(shown), round(math.sqrt(len(shown) * 4 / 3)) or 1))
    rows = math.ceil(len(shown) / columns) if shown else 0
    left = f" (first {MAX_TILES} of {len(tiles)})" if len(tiles) > MAX_TILES else ""
    height = 2 * MARGIN + LINE + GAP + rows * (step + LINE + 4)
    sheet = Image.new("RGB", (2 * MARGIN + columns * step - GAP, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN), title + left, 15, INK, sheet.width - 2 * MARGIN)
    for number, tile in enumerate(shown):
        x = MARGIN + number % columns * step
        y = MARGIN + LINE + GAP + number // columns * (step + LINE + 4)
        _place(sheet, draw, tile, (x, y), side)
    return _png(sheet)


def axis_grid(
    title: str, x_labels: Sequence[str], y_labels: Sequence[str], cells: Sequence[Sequence[bytes | None]]
) -> bytes:
    """PNG: `cells` by row, the labels of the columns above and those of the rows at the left."""
    side = _side(len(x_labels) * len(y_labels))
    gutter = 132 if any(y_labels) else 0
    step = side + GAP
    top = MARGIN + LINE + GAP + (LINE + 8 if any(x_labels) else 0)
    width = 2 * MARGIN + gutter + len(x_labels) * step - GAP
    sheet = Image.new("RGB", (width, top + len(y_labels) * step - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN, MARGIN), title, 15, INK, width - 2 * MARGIN)
    for column, label in enumerate(x_labels):
        _write(draw, (MARGIN + gutter + column * step, top - LINE - 8), label, 12, INK, side)
    for row, label in enumerate(y_labels):
        _write(draw, (MARGIN, top + row * step + side // 2 - 6), label, 12, INK, gutter - 10)
        for column in range(len(x_labels)):
            at = (MARGIN + gutter + column * step, top + row * step)
            _place(sheet, draw, Tile(cells[row][column]), at, side)
    return _png(sheet)


def _side(count: int) -> int:
    fits = math.isqrt(MAX_PIXELS // max(1, count)) - GAP - LINE
    return max(LEAST, min(SIDE, fits))


def _place(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, at: tuple[int, int], side: int) -> None:
    x, y = at
    if tile.picture is None:
        draw.rectangle((x, y, x + side - 1, y + side - 1), fill=(242, 240, 236))
    else:
        opened = Image.open(io.BytesIO(tile.picture))
        picture = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
        scale = side / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        small = picture.resize(size, Image.Resampling.LANCZOS)
        corner = (x + (side - size[0]) // 2, y + (side - size[1]) // 2)
        sheet.paste(small, corner, small if small.mode == "RGBA" else None)
    _write(draw, (x, y + side + 3), tile.caption, 11, QUIET, side)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """One line, cut with an ellipsis where it is wider than `width` px."""
    font = _font(size, text.isascii())
    text = " ".join(text.split())
    if draw.textlength(text, font) > width:
        while text and draw.textlength(text + "...", font) > width:
            text = text[:-1]
        text += "..."
    draw.text(at, text, fill=colour, font=font)


@cache
def _font(size: int, latin: bool) -> Font:
    for file in () if latin else FONTS:
        if Path(file).is_file():
            return ImageFont.truetype(file, size)
    return ImageFont.load_default(size)


def _png(sheet: Image.Image) -> bytes:
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
