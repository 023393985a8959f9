"""The sixteen products: each function paints one, about two units wide, in object coordinates (y down)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pocket.brush import Brush, box, curve, ellipse
from pocket.palette import CREAM, GOLD, INK, LEAF, WOOD, Rgb, luminance, mix


@dataclass(frozen=True)
class Tones:
    """One named colour as a painter lays it out, with `trim` for soles, labels and dials."""

    base: Rgb
    light: Rgb
    dark: Rgb
    deep: Rgb
    trim: Rgb

    @classmethod
    def of(cls, colour: Rgb) -> Tones:
        black, white = (0, 0, 0), (255, 255, 255)
        pale = luminance(colour) > 0.88
        inky = luminance(colour) < 0.2
        return cls(
            base=colour,
            light=mix(colour, white, 0.22 if inky else 0.38),
            dark=mix(colour, white, 0.12) if inky else mix(colour, black, 0.13 if pale else 0.24),
            deep=mix(colour, white, 0.3) if inky else mix(colour, black, 0.3 if pale else 0.5),
            trim=(176, 182, 190) if pale else CREAM,
        )


@dataclass(frozen=True)
class Product:
    """`paint` draws it; `bottom` is the y at which it stands on the ground, in units."""

    paint: Callable[[Brush, Tones], None]
    bottom: float


def paint_sneaker(brush: Brush, tones: Tones) -> None:
    brush.fill(curve([(-0.92, 0.30), (-0.95, -0.20), (-0.84, -0.56), (-0.62, -0.50), (-0.40, -0.36),
                      (-0.14, -0.60), (0.02, -0.58), (0.30, -0.16), (0.66, 0.04), (0.95, 0.22), (1.0, 0.44),
                      (0.6, 0.50), (-0.4, 0.50)]), tones.base)
    brush.fill(curve([(0.58, 0.02), (0.93, 0.20), (0.99, 0.43), (0.62, 0.45), (0.54, 0.22)]), tones.dark)
    brush.fill(curve([(-0.92, 0.30), (-0.94, -0.18), (-0.86, -0.50), (-0.72, -0.30), (-0.64, 0.10),
                      (-0.66, 0.42)]), tones.dark)
    brush.fill(curve([(-0.42, 0.42), (-0.24, 0.12), (0.10, -0.12), (0.16, 0.0), (-0.02, 0.24),
                      (-0.14, 0.42)]),
               tones.trim)
    for step in range(3):
        x, y = -0.10 + 0.16 * step, -0.36 + 0.14 * step
        brush.detail([(x - 0.08, y + 0.14), (x + 0.14, y)], tones.trim, 0.07)
    brush.fill(box(-0.98, 0.42, 1.04, 0.68, 0.12), tones.trim)
    brush.detail([(-0.9, 0.60), (0.96, 0.60)], tones.deep, 0.05)
    brush.shine(curve([(0.30, -0.06), (0.60, 0.10), (0.82, 0.20), (0.62, 0.17), (0.34, 0.04)]), 0.75)


def paint_mug(brush: Brush, tones: Tones) -> None:
    brush.line(ellipse(0.52, 0.04, 0.36, 0.38, -100, 100), tones.dark, 0.17)
    brush.fill(box(-0.78, -0.66, 0.54, 0.80, 0.20), tones.base)
    brush.fill(box(0.28, -0.60, 0.54, 0.72, 0.12), tones.dark)
    brush.fill(ellipse(-0.12, -0.66, 0.66, 0.17), tones.light)
    brush.fill(ellipse(-0.12, -0.63, 0.54, 0.11), mix((96, 58, 34), tones.deep, 0.25))
    brush.shine(box(-0.64, -0.32, -0.48, 0.52, 0.08))


def paint_bottle(brush: Brush, tones: Tones) -> None:
    brush.fill(box(-0.17, -1.0, 0.17, -0.76, 0.06), tones.deep)
    brush.fill(curve([(-0.13, -0.80), (0.13, -0.80), (0.15, -0.45), (0.40, -0.16), (0.44, 0.2), (0.44, 0.86),
                      (0.34, 0.97), (-0.34, 0.97), (-0.44, 0.86), (-0.44, 0.2), (-0.40, -0.16),
                      (-0.15, -0.45)]), tones.base)
    brush.fill(curve([(0.20, -0.34), (0.40, -0.12), (0.43, 0.2), (0.43, 0.84), (0.32, 0.94), (0.20, 0.94),
                      (0.24, 0.3)]), tones.dark)
    brush.fill(box(-0.44, 0.14, 0.44, 0.66), tones.trim)
    brush.fill(ellipse(0.0, 0.40, 0.17, 0.17), tones.base)
    brush.shine(box(-0.34, -0.12, -0.22, 0.86, 0.06))


def paint_tshirt(brush: Brush, tones: Tones) -> None:
    brush.fill([(-0.36, -0.80), (-0.62, -0.70), (-1.0, -0.18), (-0.70, 0.06), (-0.50, -0.16), (-0.50, 0.84),
                (0.50, 0.84), (0.50, -0.16), (0.70, 0.06), (1.0, -0.18), (0.62, -0.70), (0.36, -0.80)],
               tones.base)
    brush.fill([(-1.0, -0.18), (-0.70, 0.06), (-0.62, -0.04), (-0.92, -0.28)], tones.dark)
    brush.fill([(1.0, -0.18), (0.70, 0.06), (0.62, -0.04), (0.92, -0.28)], tones.dark)
    brush.fill(ellipse(0.0, -0.80, 0.36, 0.26, 0, 180), tones.deep)
    brush.detail(ellipse(0.0, -0.80, 0.36, 0.26, 0, 180), tones.light, 0.07)
    brush.fill(ellipse(0.0, 0.12, 0.24, 0.24), tones.trim)
    brush.shine([(-0.44, -0.12), (-0.34, -0.16), (-0.34, 0.70), (-0.44, 0.74)], 0.4)


def paint_chair(brush: Brush, tones: Tones) -> None:
    for left, right in ((-0.46, -0.60), (0.46, 0.60)):
        brush.line([(left, 0.30), (right, 0.95)], WOOD, 0.11)
    for left, right in ((-0.20, -0.26), (0.20, 0.26)):
        brush.line([(left, 0.30), (right, 0.80)], mix(WOOD, INK, 0.3), 0.10)
    brush.fill(curve([(-0.50, -0.92), (0.0, -0.99), (0.50, -0.92), (0.58, -0.5), (0.52, 0.16), (0.0, 0.22),
                      (-0.52, 0.16), (-0.58, -0.5)]), tones.base)
    brush.fill(curve([(-0.34, -0.72), (0.0, -0.78), (0.34, -0.72), (0.38, -0.3), (0.32, 0.02), (0.0, 0.04),
                      (-0.32, 0.02), (-0.38, -0.3)]), tones.light)
    brush.fill(box(-0.70, 0.10, 0.70, 0.40, 0.15), tones.dark)
    brush.shine(curve([(-0.46, -0.78), (-0.36, -0.84), (-0.40, -0.4), (-0.40, 0.0), (-0.48, -0.2)]))


def paint_lamp(brush: Brush, tones: Tones) -> None:
    brush.line([(0.0, 0.0), (0.0, 0.82)], GOLD, 0.11)
    brush.fill(box(-0.42, 0.80, 0.42, 0.95, 0.07), GOLD)
    brush.fill(ellipse(0.0, 0.06, 0.56, 0.11), (255, 236, 170))
    brush.fill([(-0.36, -0.95), (0.36, -0.95), (0.80, 0.04), (-0.80, 0.04)], tones.base)
    brush.fill([(0.16, -0.95), (0.36, -0.95), (0.80, 0.04), (0.40, 0.04)], tones.dark)
    brush.fill([(-0.80, 0.04), (0.80, 0.04), (0.75, -0.08), (-0.75, -0.08)], tones.deep)
    brush.shine([(-0.32, -0.86), (-0.20, -0.86), (-0.46, -0.12), (-0.62, -0.12)])


def paint_handbag(brush: Brush, tones: Tones) -> None:
    brush.line(ellipse(0.0, -0.24, 0.42, 0.62, 180, 360), tones.deep, 0.12)
    brush.fill(curve([(-0.72, -0.26), (0.0, -0.30), (0.72, -0.26), (0.94, 0.66), (0.80, 0.82), (0.0, 0.84),
                      (-0.80, 0.82), (-0.94, 0.66)]), tones.base)
    brush.fill(curve([(-0.74, -0.28), (0.0, -0.32), (0.74, -0.28), (0.70, 0.06), (0.26, 0.26), (0.0, 0.30),
                      (-0.26, 0.26), (-0.70, 0.06)]), tones.dark)
    brush.fill(box(-0.12, 0.16, 0.12, 0.42, 0.06), GOLD)
    brush.shine(curve([(-0.70, 0.18), (-0.60, 0.24), (-0.70, 0.66), (-0.80, 0.60)]))


def paint_lantern(brush: Brush, tones: Tones) -> None:
    brush.line([(0.0, -1.0), (0.0, -0.70)], GOLD, 0.07)
    for x in (-0.12, 0.0, 0.12):
        brush.detail([(x, 0.66), (x, 1.0)], GOLD, 0.07)
    brush.fill(ellipse(0.0, -0.02, 0.84, 0.62), tones.base)
    brush.detail(ellipse(0.0, -0.02, 0.52, 0.62), tones.dark, 0.06)
    brush.detail(ellipse(0.0, -0.02, 0.18, 0.62), tones.dark, 0.06)
    brush.fill(box(-0.36, -0.74, 0.36, -0.56, 0.04), GOLD)
    brush.fill(box(-0.36, 0.52, 0.36, 0.70, 0.04), GOLD)
    brush.shine(curve([(-0.68, -0.12), (-0.56, -0.36), (-0.42, -0.40), (-0.54, -0.16), (-0.58, 0.10)]))


def paint_gift_box(brush: Brush, tones: Tones) -> None:
    ribbon = GOLD if tones.trim == CREAM else (196, 60, 60)
    brush.fill(box(-0.74, -0.20, 0.74, 0.88, 0.05), tones.base)
    brush.fill(box(0.42, -0.16, 0.74, 0.88), tones.dark)
    brush.fill(box(-0.86, -0.44, 0.86, -0.10, 0.05), tones.light)
    brush.fill(box(-0.15, -0.44, 0.15, 0.88), ribbon)
    brush.fill(curve([(0.0, -0.44), (-0.18, -0.80), (-0.54, -0.86), (-0.60, -0.60), (-0.36, -0.46)]), ribbon)
    brush.fill(curve([(0.0, -0.44), (0.18, -0.80), (0.54, -0.86), (0.60, -0.60), (0.36, -0.46)]), ribbon)
    brush.fill(ellipse(0.0, -0.50, 0.13, 0.12), mix(ribbon, INK, 0.2))
    brush.shine(box(-0.62, 0.04, -0.48, 0.74, 0.06), 0.5)


def paint_dress(brush: Brush, tones: Tones) -> None:
    for side in (-1, 1):
        brush.line([(0.22 * side, -0.98), (0.28 * side, -0.68)], tones.dark, 0.08)
    brush.fill(curve([(-0.34, -0.72), (-0.16, -0.60), (0.0, -0.54), (0.16, -0.60), (0.34, -0.72),
                      (0.36, -0.40), (0.26, -0.06), (0.50, 0.34), (0.80, 0.86), (0.40, 0.97), (0.0, 0.92),
                      (-0.40, 0.97), (-0.80, 0.86), (-0.50, 0.34), (-0.26, -0.06), (-0.36, -0.40)]),
               tones.base)
    brush.fill(curve([(0.10, 0.06), (0.28, 0.02), (0.52, 0.36), (0.78, 0.84), (0.44, 0.93), (0.30, 0.5)]),
               tones.dark)
    brush.detail(curve([(-0.16, 0.06), (-0.28, 0.45), (-0.42, 0.88)], closed=False), tones.dark, 0.05)
    brush.fill([(-0.28, -0.12), (0.28, -0.12), (0.28, 0.03), (-0.28, 0.03)], tones.trim)
    brush.shine(curve([(-0.26, -0.52), (-0.18, -0.48), (-0.18, -0.22), (-0.24, -0.24)]))


def paint_mooncake(brush: Brush, tones: Tones) -> None:
    petals = [(0.90 + 0.06 * (step % 2), 22.5 * step) for step in range(16)]
    brush.fill(curve([tuple(ellipse(0, 0, reach, reach * 0.92, turn, turn)[0]) for reach, turn in petals]),
               tones.dark)
    brush.fill(ellipse(0.0, -0.03, 0.74, 0.68), tones.base)
    brush.detail(ellipse(0.0, -0.03, 0.58, 0.53), tones.deep, 0.06)
    for turn in range(0, 360, 60):
        x, y = ellipse(0, -0.03, 0.29, 0.27, turn, turn)[0]
        brush.fill(ellipse(float(x), float(y), 0.15, 0.14), tones.light)
    brush.fill(ellipse(0.0, -0.03, 0.15, 0.14), tones.deep)
    brush.shine(curve([(-0.70, -0.36), (-0.44, -0.64), (-0.24, -0.70), (-0.46, -0.50), (-0.60, -0.30)]))


def paint_plant(brush: Brush, tones: Tones) -> None:
    for tip_x, tip_y, wide in ((-0.78, -0.42, 0.16), (0.78, -0.42, -0.16), (-0.42, -0.86, 0.17),
                               (0.42, -0.86, -0.17), (0.0, -1.0, 0.15)):
        middle_x, middle_y = tip_x * 0.55, (tip_y + 0.3) * 0.5
        tone = mix(LEAF, INK, 0.25) if abs(tip_x) > 0.6 else LEAF
        brush.fill(curve([(0.0, 0.30), (middle_x - wide, middle_y - 0.1), (tip_x, tip_y),
                          (middle_x + wide, middle_y + 0.1)]), tone)
        brush.detail([(0.0, 0.24), (tip_x * 0.85, tip_y * 0.85)], mix(LEAF, CREAM, 0.4), 0.04)
    brush.fill([(-0.52, 0.24), (0.52, 0.24), (0.38, 0.97), (-0.38, 0.97)], tones.base)
    brush.fill([(0.20, 0.24), (0.52, 0.24), (0.38, 0.97), (0.14, 0.97)], tones.dark)
    brush.fill(box(-0.60, 0.12, 0.60, 0.36, 0.05), tones.light)
    brush.shine([(-0.40, 0.42), (-0.28, 0.42), (-0.22, 0.88), (-0.32, 0.88)])


def paint_watch(brush: Brush, tones: Tones) -> None:
    brush.fill([(-0.30, -1.0), (0.30, -1.0), (0.38, -0.40), (-0.38, -0.40)], tones.dark)
    brush.fill([(-0.38, 0.40), (0.38, 0.40), (0.30, 1.0), (-0.30, 1.0)], tones.dark)
    brush.fill(box(0.52, -0.09, 0.68, 0.09, 0.04), tones.deep)
    brush.fill(ellipse(0.0, 0.0, 0.58, 0.58), tones.base)
    brush.fill(ellipse(0.0, 0.0, 0.42, 0.42), (246, 246, 244))
    for turn in range(0, 360, 90):
        brush.detail([tuple(ellipse(0, 0, reach, reach, turn, turn)[0]) for reach in (0.30, 0.37)], INK, 0.06)
    brush.detail([(0.0, 0.0), (0.0, -0.28)], INK, 0.07)
    brush.detail([(0.0, 0.0), (0.20, 0.12)], INK, 0.07)
    brush.shine(curve([(-0.52, -0.14), (-0.40, -0.36), (-0.22, -0.50), (-0.36, -0.30), (-0.46, -0.10)]), 0.75)


def paint_headphones(brush: Brush, tones: Tones) -> None:
    brush.line(ellipse(0.0, 0.0, 0.74, 0.82, 180, 360), tones.base, 0.20)
    brush.detail(ellipse(0.0, 0.0, 0.74, 0.82, 200, 340), tones.light, 0.06)
    for side in (-1, 1):
        brush.fill(box(min(0.38 * side, 0.62 * side), -0.12, max(0.38 * side, 0.62 * side), 0.72, 0.11),
                   (62, 62, 70))
        brush.fill(box(min(0.56 * side, 0.98 * side), -0.22, max(0.56 * side, 0.98 * side), 0.82, 0.20),
                   tones.base)
        brush.fill(box(min(0.76 * side, 0.98 * side), -0.10, max(0.76 * side, 0.98 * side), 0.70, 0.10),
                   tones.dark)
    brush.shine(box(-0.74, 0.0, -0.64, 0.58, 0.05))
    brush.shine(box(0.62, 0.0, 0.70, 0.58, 0.04))


def paint_teapot(brush: Brush, tones: Tones) -> None:
    brush.line(ellipse(0.62, 0.10, 0.34, 0.36, -110, 110), tones.dark, 0.14)
    brush.fill(curve([(-0.46, 0.36), (-0.74, 0.10), (-0.82, -0.18), (-1.0, -0.34), (-0.78, -0.40),
                      (-0.62, -0.14), (-0.40, -0.06)]), tones.dark)
    brush.fill(curve([(-0.34, -0.42), (0.0, -0.46), (0.34, -0.42), (0.66, -0.06), (0.68, 0.34), (0.42, 0.70),
                      (0.0, 0.74), (-0.42, 0.70), (-0.68, 0.34), (-0.66, -0.06)]), tones.base)
    brush.fill(box(-0.36, 0.66, 0.36, 0.80, 0.06), tones.deep)
    brush.fill(ellipse(0.0, -0.42, 0.42, 0.15), tones.light)
    brush.fill(ellipse(0.0, -0.64, 0.12, 0.12), tones.deep)
    brush.shine(curve([(-0.56, 0.0), (-0.42, -0.24), (-0.30, -0.26), (-0.42, 0.0), (-0.48, 0.28)]))


def paint_cap(brush: Brush, tones: Tones) -> None:
    brush.fill(curve([(-0.86, 0.34), (-0.80, -0.16), (-0.46, -0.58), (-0.06, -0.66), (0.34, -0.50),
                      (0.56, -0.10), (0.56, 0.34), (-0.2, 0.42)]), tones.base)
    brush.detail(curve([(-0.06, -0.64), (-0.18, -0.2), (-0.20, 0.36)], closed=False), tones.dark, 0.05)
    brush.fill(curve([(-0.10, 0.30), (0.30, 0.12), (0.72, 0.16), (1.02, 0.40), (1.0, 0.52), (0.6, 0.44),
                      (0.2, 0.46)]), tones.dark)
    brush.fill(ellipse(-0.06, -0.66, 0.10, 0.07), tones.deep)
    brush.fill(ellipse(0.22, -0.14, 0.17, 0.17), tones.trim)
    brush.shine(curve([(-0.70, -0.06), (-0.54, -0.36), (-0.36, -0.48), (-0.50, -0.20), (-0.60, 0.08)]))


PRODUCTS: dict[str, Product] = {
    "sneaker": Product(paint_sneaker, 0.68),
    "mug": Product(paint_mug, 0.80),
    "bottle": Product(paint_bottle, 0.97),
    "t-shirt": Product(paint_tshirt, 0.90),
    "chair": Product(paint_chair, 0.98),
    "lamp": Product(paint_lamp, 0.95),
    "handbag": Product(paint_handbag, 0.84),
    "lantern": Product(paint_lantern, 1.04),
    "gift box": Product(paint_gift_box, 0.88),
    "dress": Product(paint_dress, 1.0),
    "mooncake": Product(paint_mooncake, 0.90),
    "plant": Product(paint_plant, 0.97),
    "watch": Product(paint_watch, 1.02),
    "headphones": Product(paint_headphones, 0.82),
    "teapot": Product(paint_teapot, 0.80),
    "cap": Product(paint_cap, 0.52),
}
