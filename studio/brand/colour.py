"""Colour as eyes see it: sRGB to CIE Lab (D65) and OKLab and back, and the CIEDE2000 difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]  # (..., 3)

# sRGB to XYZ, IEC 61966-2-1; white D65.
TO_XYZ = np.array(
    [
        [0.4123907993, 0.3575843394, 0.1804807884],
        [0.2126390059, 0.7151686788, 0.0721923154],
        [0.0193308187, 0.1191947798, 0.9505321522],
    ]
)
WHITE = np.array([0.9504559271, 1.0, 1.0890577508])
# Source: Björn Ottosson, "A perceptual color space for image processing", 2020.
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def read_hex(text: str) -> tuple[int, int, int]:
    """'#C8102E' as red, green, blue."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def write_hex(colour: NDArray[np.generic]) -> str:
    red, green, blue = (int(np.clip(round(float(part)), 0, 255)) for part in colour)
    return f"#{red:02X}{green:02X}{blue:02X}"


def linear(rgb: NDArray[np.generic]) -> Colours:
    """sRGB 0..255 as light, 0..1."""
    share = np.asarray(rgb, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def gamma(light: Colours) -> Colours:
    """Light 0..1 as sRGB 0..255, clipped."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_lab(rgb: NDArray[np.generic]) -> Colours:
    """sRGB 0..255 as L* 0..100, a*, b*."""
    share = linear(rgb) @ TO_XYZ.T / WHITE
    bent = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def to_oklab(rgb: NDArray[np.generic]) -> Colours:
    """sRGB 0..255 as L 0..1, a, b."""
    return np.asarray(np.cbrt(linear(rgb) @ TO_LMS.T) @ TO_OKLAB.T)


def from_oklab(lab: Colours) -> Colours:
    """sRGB 0..255, clipped to what a screen shows."""
    lms = (lab @ np.linalg.inv(TO_OKLAB).T) ** 3
    return gamma(lms @ np.linalg.inv(TO_LMS).T)


def difference(one: Colours, other: Colours, light: float = 1.0) -> Colours:
    """CIEDE2000 of Lab colours, element by element. `light`: kL; 2 halves what lightness counts.

    Source: Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", 2005; tested on its 34 pairs.
    """
    lightness, a, b = np.moveaxis(np.broadcast_arrays(one, other)[0], -1, 0)
    lightness2, a2, b2 = np.moveaxis(np.broadcast_arrays(one, other)[1], -1, 0)
    mean = ((np.hypot(a, b) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1 + 0.5 * (1 - np.sqrt(mean / (mean + 25.0**7)))
    chroma, chroma2 = np.hypot(a * stretch, b), np.hypot(a2 * stretch, b2)
    hue = np.degrees(np.arctan2(b, a * stretch)) % 360
    hue2 = np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    grey = chroma * chroma2 == 0
    turn = np.where(grey, 0.0, (hue2 - hue + 180) % 360 - 180)
    turn = np.where(~grey & (hue2 - hue == 180), 180.0, turn)
    by_light, by_chroma = lightness2 - lightness, chroma2 - chroma
    by_hue = 2 * np.sqrt(chroma * chroma2) * np.sin(np.radians(turn / 2))
    mean_light, mean_chroma = (lightness + lightness2) / 2, (chroma + chroma2) / 2
    total = hue + hue2
    far = np.abs(hue - hue2) > 180
    mean_hue = np.where(
        grey, total, np.where(far, np.where(total < 360, total + 360, total - 360), total) / 2
    )
    mean_hue = np.where(grey, total, mean_hue)
    weight = (
        1
        - 0.17 * np.cos(np.radians(mean_hue - 30))
        + 0.24 * np.cos(np.radians(2 * mean_hue))
        + 0.32 * np.cos(np.radians(3 * mean_hue + 6))
        - 0.20 * np.cos(np.radians(4 * mean_hue - 63))
    )
    off = (mean_light - 50) ** 2
    scale_light = (1 + 0.015 * off / np.sqrt(20 + off)) * light
    scale_chroma, scale_hue = 1 + 0.045 * mean_chroma, 1 + 0.015 * mean_chroma * weight
    seventh = mean_chroma**7
    twist = -2 * np.sqrt(seventh / (seventh + 25.0**7))
    twist = twist * np.sin(np.radians(60 * np.exp(-(((mean_hue - 275) / 25) ** 2))))
    parts = by_light / scale_light, by_chroma / scale_chroma, by_hue / scale_hue
    return np.asarray(np.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + twist * parts[1] * parts[2]))
