"""The names of a picture's main colours, for finding it by them."""

from __future__ import annotations

import colorsys
import io
from collections import Counter

from PIL import Image, UnidentifiedImageError

SIDE = 24  # px of the little picture that is counted
SHARE = 0.12  # of the pixels; less is a detail

# Upper bounds of the hue in degrees; red begins again at its end.
HUES = (
    (15, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (195, "cyan"), (255, "blue"),
    (290, "purple"), (340, "pink"), (360, "red"),
)  # fmt: skip
NAMES = (*dict.fromkeys(name for _, name in HUES), "brown", "black", "grey", "white")


def colours_of(data: bytes) -> tuple[str, ...]:
    """Names from NAMES, the most common first; transparent parts have none, what is no picture neither."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.draft("RGB", (4 * SIDE, 4 * SIDE))
            small = picture.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.BOX)
    except (UnidentifiedImageError, OSError):
        return ()
    pixels = small.tobytes()
    seen = [pixels[at : at + 3] for at in range(0, len(pixels), 4) if pixels[at + 3] > 127]
    counted = Counter(name_of(*pixel) for pixel in seen).most_common()
    return tuple(name for name, count in counted if count >= SHARE * len(seen))


def name_of(red: int, green: int, blue: int) -> str:
    """Of an sRGB colour with 8 bits a channel."""
    hue, light, strength = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
    if light < 0.12:
        return "black"
    if light > 0.93:
        return "white"
    if strength < 0.15 or (strength < 0.25 and light > 0.8):
        return "white" if light > 0.85 else "grey"
    name = next(name for bound, name in HUES if hue * 360 <= bound)
    return "brown" if name == "orange" and light < 0.4 else name
