"""Draws the logo of the guochao preset, light and dark: `python docs/make_logo.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SCALE = 4  # drawn larger, then averaged down
SIZE = (640, 200)
OUT = Path(__file__).resolve().parent.parent / "presets" / "logos"


def draw(colour: tuple[int, int, int]) -> Image.Image:
    """A cloud scroll beside three bars: no letters, so that it belongs to nobody."""
    mask = Image.new("L", (SIZE[0] * SCALE, SIZE[1] * SCALE))
    pen = ImageDraw.Draw(mask)

    def ring(x: float, y: float, r: float, width: float) -> None:
        box = [part * SCALE for part in (x - r, y - r, x + r, y + r)]
        pen.ellipse(box, outline=255, width=round(width * SCALE))

    for x, y, r in ((100, 100, 92), (100, 100, 58), (214, 128, 64), (214, 128, 34), (308, 150, 42)):
        ring(x, y, r, 15)
    pen.ellipse([part * SCALE for part in (76, 76, 124, 124)], fill=255)
    for y, long in ((52, 190), (100, 250), (148, 220)):
        box = [part * SCALE for part in (378, y - 15, 378 + long, y + 15)]
        pen.rounded_rectangle(box, 15 * SCALE, fill=255)
    drawn = mask.resize(SIZE, Image.Resampling.LANCZOS)
    logo = Image.new("RGBA", SIZE, (*colour, 0))
    logo.putalpha(drawn)
    return logo.crop(logo.getbbox())


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    draw((245, 235, 221)).save(OUT / "guochao-light.png", optimize=True)
    draw((43, 27, 23)).save(OUT / "guochao-dark.png", optimize=True)
