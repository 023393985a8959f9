"""The named colours of the pocket world, and the few colour sums that drawing needs."""

from __future__ import annotations

Rgb = tuple[int, int, int]

# sRGB. The two nearest names (beige, white) are 14.5 apart in CIEDE2000, most more than 20.
COLOURS: dict[str, Rgb] = {
    "red": (214, 43, 43),
    "orange": (245, 127, 30),
    "yellow": (248, 207, 47),
    "lime": (155, 209, 60),
    "green": (46, 139, 69),
    "teal": (15, 143, 140),
    "sky blue": (124, 198, 242),
    "blue": (33, 89, 214),
    "navy": (23, 36, 79),
    "purple": (122, 61, 184),
    "pink": (245, 143, 180),
    "brown": (123, 74, 43),
    "beige": (234, 215, 180),
    "white": (248, 248, 246),
    "grey": (143, 150, 156),
    "black": (27, 27, 30),
}

INK: Rgb = (30, 28, 36)
CREAM: Rgb = (250, 245, 236)
GOLD: Rgb = (226, 176, 72)
WOOD: Rgb = (186, 133, 87)
LEAF: Rgb = (64, 150, 78)


def mix(colour: Rgb, other: Rgb, share: float) -> Rgb:
    """`share` in 0..1 of `other` stirred into `colour`, channel by channel in sRGB."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    """Rough brightness in 0..1 (Rec. 601 weights on sRGB values)."""
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255
