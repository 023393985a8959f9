"""How well is a subject cut from its ground? `python -m bench.matte [--sheet FILE]`; about 10 s.

60 scenes drawn by pocket.scenes (12 of each setting, product and ground of different colours) whose product
masks are known, each as drawn, as a JPEG of quality 85, and with noise (sigma 4) at 512 px. The figure is the
intersection over union of (alpha > 0.5) and the mask. A podium and a table are ground by the mask; for a cut
that knows no things they are hard. The outline style is left out: its mask ends inside its outline.
The bar is a mean of 0.95 on plain, gradient and two-tone grounds as drawn.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pocket.scenes import SETTINGS, Scene, draw_with_mask, sample_scene
from studio.brand.contact import Tile, contact_sheet
from studio.brand.matte import cut, grounded

EACH = 12  # scenes of a setting
STYLES = ("flat", "glossy")


def scenes(rng: random.Random) -> list[Scene]:
    found = []
    for setting in SETTINGS:
        for number in range(EACH):
            drawn = sample_scene(rng)
            fields = {**vars(drawn), "setting": setting, "style": STYLES[number % len(STYLES)]}
            found.append(Scene(**fields))
    return found


def overlap(alpha: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of (H, W) shares and (H, W) 0..255."""
    ours, theirs = alpha > 0.5, mask > 127
    return float((ours & theirs).sum() / max(1, (ours | theirs).sum()))


def as_jpeg(picture: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=85)
    return np.asarray(Image.open(out).convert("RGB"))


def noisy(picture: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheet", type=Path)
    sheet = parser.parse_args().sheet
    tiles: list[Tile] = []
    for size, name, spoil in ((128, "drawn", None), (128, "jpeg", as_jpeg), (512, "noise", noisy)):
        found: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
        begun = time.perf_counter()
        for scene in scenes(random.Random(6)):
            picture, mask = draw_with_mask(scene, size)
            picture = picture if spoil is None else spoil(picture)
            matte = cut(picture)
            found[scene.setting].append(overlap(matte.alpha, mask))
            if name == "drawn":
                both = np.hstack([picture, grounded(picture, matte, (255, 0, 255))])
                out = io.BytesIO()
                Image.fromarray(both).save(out, "PNG")
                tiles.append(Tile(out.getvalue(), f"{scene.setting} {found[scene.setting][-1]:.2f}"))
        took = (time.perf_counter() - begun) / (EACH * len(SETTINGS)) * 1000
        told = ", ".join(
            f"{setting} {statistics.mean(rows):.3f} (worst {min(rows):.2f})"
            for setting, rows in found.items()
        )
        every = [one for rows in found.values() for one in rows]
        print(f"{size} px {name}: mean {statistics.mean(every):.3f}; {told}; {took:.0f} ms with drawing")
    if sheet is not None:
        sheet.write_bytes(contact_sheet("matte", tiles))


if __name__ == "__main__":
    main()
