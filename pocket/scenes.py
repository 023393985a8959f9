"""Brand scenes: what is in one (`Scene`), which ones there are (`sample_scene`), how one is drawn."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import cv2
import numpy as np

from pocket.brush import Brush, curve, ellipse
from pocket.palette import COLOURS, CREAM, GOLD, INK, WOOD, Rgb, luminance, mix
from pocket.products import PRODUCTS, Tones

SETTINGS = ("plain", "two-tone", "gradient", "podium", "table")
BASE_STYLES = ("flat", "glossy", "outline")
LORA_STYLES = ("guochao", "nordic", "neon")
STYLES = BASE_STYLES + LORA_STYLES
PLACES = ("centre", "left", "right")
SIZES = ("large", "small")
OVERSAMPLE = 2  # drawn at twice the size with antialiased edges, then averaged down


@dataclass(frozen=True)
class Scene:
    """All that decides a picture. Offsets are shares of the picture's side."""

    product: str
    colour: str
    background: str
    setting: str = "plain"
    style: str = "flat"
    place: str = "centre"
    size: str = "large"
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0


def is_held_out(product: str, colour: str, background: str) -> bool:
    """Whether the combination is kept from all training (about one in ten, by hash)."""
    digest = hashlib.sha256(f"{product}/{colour}/{background}".encode()).digest()
    return digest[0] < 26


def sample_scene(rng: random.Random, styles: tuple[str, ...] = BASE_STYLES, held_out: bool = False) -> Scene:
    """One scene of the world; with `held_out` only combinations that training never sees."""
    while True:
        product = rng.choice(list(PRODUCTS))
        colour, background = rng.sample(list(COLOURS), 2)
        if is_held_out(product, colour, background) == held_out:
            break
    return Scene(
        product,
        colour,
        background,
        setting=rng.choices(SETTINGS, (40, 20, 14, 14, 12))[0],
        style=rng.choice(styles),
        place=rng.choices(PLACES, (76, 12, 12))[0],
        size=rng.choices(SIZES, (84, 16))[0],
        shift=(rng.uniform(-0.015, 0.015), rng.uniform(-0.015, 0.015)),
        zoom=rng.uniform(0.95, 1.05),
    )


def draw_scene(scene: Scene, size: int = 128) -> np.ndarray:
    """The picture of a scene: (size, size, 3) uint8 RGB. The composition does not depend on `size`."""
    return draw_with_mask(scene, size)[0]


def draw_with_mask(scene: Scene, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """The picture and where its product is: (size, size, 3) and (size, size) uint8, 255 on the product."""
    side = size * OVERSAMPLE
    radius = side * (0.37 if scene.size == "large" else 0.225) * scene.zoom
    aside = {"centre": 0.0, "left": -1.0, "right": 1.0}[scene.place]
    aside *= 0.13 if scene.size == "large" else 0.24
    centre_x = side * (0.5 + aside + scene.shift[0])
    centre_y = side * ((0.495 if scene.size == "large" else 0.57) + scene.shift[1])
    ground = centre_y + radius * PRODUCTS[scene.product].bottom
    picture = _draw_background(scene, side, centre_x, ground, radius)
    if scene.style not in ("neon", "nordic"):
        _cast_shadow(picture, centre_x, ground, radius)
    mask = np.zeros((side, side), np.uint8)
    brush = _take_brush(scene, picture, mask, (centre_x, centre_y), radius)
    PRODUCTS[scene.product].paint(brush, Tones.of(_object_colour(scene)))
    if scene.style == "glossy":
        _light(picture, mask, centre_y, radius)
    if scene.style == "neon":
        _glow(picture, side)
    picture, mask = (cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA) for one in (picture, mask))
    return picture, mask


def _object_colour(scene: Scene) -> Rgb:
    colour = COLOURS[scene.colour]
    if scene.style == "nordic":
        return mix(mix(colour, (128, 128, 128), 0.25), (255, 255, 255), 0.42)
    if scene.style == "neon":
        return mix(colour, (255, 255, 255), 0.45 if luminance(colour) < 0.3 else 0.15)
    return colour


def _take_brush(
    scene: Scene, picture: np.ndarray, mask: np.ndarray, centre: tuple[float, float], scale: float
) -> Brush:
    colour = _object_colour(scene)
    if scene.style == "outline":
        ink = mix(colour, CREAM, 0.75) if luminance(colour) < 0.2 else INK
        return Brush(picture, mask, centre, scale, ink, outline=0.065)
    if scene.style == "guochao":
        return Brush(picture, mask, centre, scale, GOLD, outline=0.065)
    if scene.style == "neon":
        return Brush(picture, mask, centre, scale, colour, outline=0.06, hollow=True)
    return Brush(picture, mask, centre, scale, INK, shines=scene.style == "glossy")


def _draw_background(scene: Scene, side: int, centre_x: float, ground: float, radius: float) -> np.ndarray:
    if scene.style == "guochao":
        return _draw_clouds(side)
    colour = COLOURS[scene.background]
    if scene.style == "nordic":
        colour = mix(mix(colour, (128, 128, 128), 0.2), (250, 248, 244), 0.72)
    if scene.style == "neon":
        colour = mix((10, 9, 18), colour, 0.07)
    if scene.setting == "gradient":
        return _draw_gradient(colour, side)
    picture = np.full((side, side, 3), colour, np.uint8)
    shade = mix(colour, (255, 255, 255), 0.16) if luminance(colour) < 0.2 else mix(colour, (0, 0, 0), 0.17)
    if scene.setting == "two-tone":
        picture[round(side * 0.66):] = shade
    if scene.setting == "table":
        wood = mix((24, 18, 20), WOOD, 0.3) if scene.style == "neon" else WOOD
        wood = mix(wood, CREAM, 0.5) if scene.style == "nordic" else wood
        top = round(ground - 0.10 * side)
        picture[top:] = wood
        picture[top : top + round(0.018 * side)] = mix(wood, (255, 255, 255), 0.28)
    if scene.setting == "podium":
        _draw_podium(picture, colour, shade, centre_x, ground, radius)
    return picture


def _draw_gradient(colour: Rgb, side: int) -> np.ndarray:
    """Lighter above, darker below, the named colour in the middle."""
    top, foot = mix(colour, (255, 255, 255), 0.34), mix(colour, (0, 0, 0), 0.24)
    share = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
    middle, top_row, foot_row = (np.asarray(tone, np.float32) for tone in (colour, top, foot))
    rows = middle + np.where(share < 0, (top_row - middle) * -share, (foot_row - middle) * share)
    return np.repeat(rows[:, None, :], side, axis=1).astype(np.uint8)


def _draw_podium(
    picture: np.ndarray, colour: Rgb, shade: Rgb, centre_x: float, ground: float, radius: float
) -> None:
    light = mix(colour, (255, 255, 255), 0.3)
    stand = Brush(picture, np.zeros(picture.shape[:2], np.uint8), (centre_x, ground), radius, INK)
    stand.fill([(-1.12, 0.0), (1.12, 0.0), (1.12, 3.0), (-1.12, 3.0)], shade)
    stand.fill(ellipse(0, 0.0, 1.12, 0.20), light)


def _draw_clouds(side: int) -> np.ndarray:
    """Guochao ground: vermilion with rows of gold-lined auspicious clouds above and below."""
    picture = np.full((side, side, 3), (186, 30, 36), np.uint8)
    pen = Brush(picture, np.zeros((side, side), np.uint8), (0.0, 0.0), side, GOLD)
    for row, y in enumerate((0.05, 0.95)):
        for step in range(5):
            x = 0.25 * step - 0.125 * (row % 2)
            for ring, tone in enumerate(((158, 18, 28), (214, 58, 48), (158, 18, 28))):
                reach = 0.115 - 0.036 * ring
                pen.fill(ellipse(x, y, reach, reach), tone)
                pen.detail(ellipse(x, y, reach, reach), GOLD, 0.010)
    for x, y in ((0.13, 0.30), (0.87, 0.30)):
        pen.detail(curve([(x - 0.10, y), (x - 0.06, y - 0.05), (x, y - 0.02), (x + 0.05, y - 0.06),
                          (x + 0.10, y)], closed=False), GOLD, 0.014)
        pen.detail([(x - 0.10, y), (x + 0.10, y)], GOLD, 0.014)
    return picture


def _cast_shadow(picture: np.ndarray, centre_x: float, ground: float, radius: float) -> None:
    """A soft ellipse under the object; blurred at an eighth of the size, where it costs nothing."""
    side = picture.shape[0]
    small = side // 8
    veil = np.zeros((small, small), np.uint8)
    Brush(np.zeros((small, small, 3), np.uint8), veil, (centre_x / 8, ground / 8), radius / 8, INK).fill(
        ellipse(0, 0.0, 0.86, 0.13), INK)
    veil = cv2.GaussianBlur(veil, (0, 0), side / 420)
    share = cv2.resize(veil, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)[..., None]
    picture[:] = (picture * (1 - share * (0.34 / 255))).astype(np.uint8)


def _light(picture: np.ndarray, mask: np.ndarray, centre_y: float, radius: float) -> None:
    """Glossy things are brighter above and darker below."""
    rows = (np.arange(picture.shape[0], dtype=np.float32) - centre_y) / radius
    gain = np.clip(1.06 - 0.24 * rows, 0.80, 1.28)[:, None, None] - 1
    lift = np.clip(-24 * rows, 0, 24)[:, None, None]
    share = (mask.astype(np.float32) / 255)[..., None]
    picture[:] = np.clip(picture + (picture * gain + lift) * share, 0, 255).astype(np.uint8)


def _glow(picture: np.ndarray, side: int) -> None:
    """Neon: bright lines bleed light."""
    bright = np.where(picture.max(axis=2, keepdims=True) > 70, picture, 0).astype(np.uint8)
    small = cv2.resize(bright, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
    halo = cv2.resize(cv2.GaussianBlur(small, (0, 0), side / 190), (side, side)).astype(np.float32)
    picture[:] = np.clip(picture + halo * 0.75, 0, 255).astype(np.uint8)
