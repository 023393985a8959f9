"""Drawn marks and how they get into scenes, for bench/protected.py and its tests."""

from __future__ import annotations

import io
import math
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pocket.scenes import draw_scene, sample_scene

SIDE = 512  # px of a drawn mark and of a scene
Picture = NDArray[np.uint8]
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def draw_mark(seed: int) -> list[Image.Image]:
    """A mark as one mask for each of its two or three colours, mode L."""
    rng = random.Random(f"mark {seed}")
    masks = [Image.new("L", (SIDE, SIDE)) for _ in range(rng.choice((2, 2, 3)))]
    frame = rng.choice(("ring", "square", "none", "none", "shield"))
    pen = ImageDraw.Draw(masks[0])
    if frame == "ring":
        pen.ellipse((16, 16, 496, 496), fill=255)
        pen.ellipse((56, 56, 456, 456), fill=0)
    elif frame == "square":
        pen.rounded_rectangle((16, 16, 496, 496), 70, outline=255, width=40)
    elif frame == "shield":
        pen.polygon([(30, 20), (482, 20), (482, 280), (256, 500), (30, 280)], fill=255)
        pen.polygon([(75, 60), (437, 60), (437, 262), (256, 440), (75, 262)], fill=0)
    reach = 240 if frame == "none" else 150
    for place in range(rng.choice((2, 3, 3, 4))):
        pen = ImageDraw.Draw(masks[place % len(masks)])
        x, y = (256 + rng.uniform(-0.5, 0.5) * reach for _ in range(2))
        paint(pen, rng, x, y, reach * rng.uniform(0.35, 0.75))
    taken = np.zeros((SIDE, SIDE), bool)  # colours never overlap: the later one lies on top
    parts: list[Image.Image] = []
    for mask in reversed(masks):
        shape = np.asarray(mask) > 127
        parts.insert(0, Image.fromarray(np.where(shape & ~taken, 255, 0).astype(np.uint8)))
        taken |= shape
    return parts


def paint(pen: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, r: float) -> None:
    kind = rng.choice(("star", "letter", "letter", "polygon", "bars", "moon"))
    turn = rng.uniform(0, math.tau)
    if kind == "letter":
        font = ImageFont.load_default(size=2 * r)
        pen.text((x, y), rng.choice(LETTERS), fill=255, font=font, anchor="mm", stroke_width=int(r / 14))
    elif kind == "bars":
        for bar in range(3):
            top = y - r + bar * r * 0.75
            pen.rectangle((x - r, top, x + r * rng.uniform(0.2, 1), top + r * 0.4), fill=255)
    elif kind == "moon":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        pen.ellipse((x - r * 0.4, y - r * 0.9, x + r * 1.2, y + r * 0.7), fill=0)
    else:
        count = rng.choice((5, 6, 8)) if kind == "star" else rng.choice((3, 4, 6))
        inner = rng.uniform(0.35, 0.6) if kind == "star" else 1.0
        points = []
        for corner in range(2 * count):
            at = turn + math.tau * corner / (2 * count)
            far = r * (1 if corner % 2 == 0 else inner)
            if kind == "star" or corner % 2 == 0:
                points.append((x + far * math.cos(at), y + far * math.sin(at)))
        pen.polygon(points, fill=255)


def coloured(parts: list[Image.Image], colours: list[tuple[int, int, int]]) -> Image.Image:
    """RGBA, cut to what is drawn."""
    mark = Image.new("RGBA", parts[0].size)
    for part, colour in zip(parts, colours, strict=True):
        mark.paste((*colour, 255), (0, 0), part)
    return mark.crop(mark.getbbox())


def as_known(seed: int) -> Image.Image:
    """As a company keeps it: its own colours, no ground."""
    rng = random.Random(f"known {seed}")
    parts = draw_mark(seed)
    return coloured(parts, [tuple(rng.randrange(0, 200) for _ in range(3)) for _ in parts])


def scene(seed: int, size: int = SIDE) -> Picture:
    return draw_scene(sample_scene(random.Random(f"scene {seed}")), size)


def place(picture: Picture, seed: int, mark: int) -> tuple[Picture, tuple[int, int, int, int]]:
    """The scene with the mark in it: 12 to 40 % of the width, turned up to 10 degrees, recoloured."""
    rng = random.Random(f"place {seed}")
    size = picture.shape[1]
    parts = draw_mark(mark)
    width = size * rng.choice((0.12, rng.uniform(0.12, 0.4)))
    shape = coloured(parts, [(0, 0, 0)] * len(parts)).size
    height = width * shape[1] / shape[0]
    if height > size * 0.9:
        width, height = width * size * 0.9 / height, size * 0.9
    left, top = rng.uniform(0, size - width), rng.uniform(0, size - height)
    below = picture[int(top) : int(top + height), int(left) : int(left + width)].reshape(-1, 3).mean(axis=0)
    colours: list[tuple[int, int, int]] = []
    while len(colours) < len(parts):
        colour = tuple(rng.randrange(256) for _ in range(3))
        if min(np.abs(np.subtract(colour, other)).max() for other in [below, *colours]) > 70:
            colours.append(colour)
    drawn = coloured(parts, colours).resize((round(width * 3), round(height * 3)), Image.Resampling.LANCZOS)
    turned = drawn.rotate(rng.uniform(-10, 10), Image.Resampling.BICUBIC, expand=True)
    turned = turned.resize((turned.width // 3, turned.height // 3), Image.Resampling.LANCZOS)
    out = Image.fromarray(picture).convert("RGBA")
    at = (max(0, min(round(left), size - turned.width)), max(0, min(round(top), size - turned.height)))
    out.alpha_composite(turned, at)
    return np.asarray(out.convert("RGB")), (*at, turned.width, turned.height)


def jpeg(picture: Picture, quality: int = 80) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
