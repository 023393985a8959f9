"""Does the palette score rank pictures as a person would? `python bench/palette_agreement.py [--sheet FILE]`

60 pictures drawn by pocket.scenes for three brands, rated by a rule that knows only how each was drawn, never
its pixels. The rule was written down before the first score was taken:

  A picture's mark is the sum over its painted surfaces of (share of the picture) x (how much it is the
  brand's). How much: 1 for a colour of the palette; 0.75 for white, grey or black that the palette does not
  name (paper fits every brand but is not its own); 0.5 for a sister of a palette colour (SISTERS below); 0
  for any other. Shares as they look: product 0.3 of a large picture and 0.12 of a small one; a wooden table
  takes 0.25, is brown, and beige's and orange's sister; the background has the rest.

Agreement is Spearman's rank correlation of mark and score, ties sharing their mean rank. Bar: >= 0.9.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time

import numpy as np

from pocket.palette import COLOURS
from pocket.scenes import BASE_STYLES, SETTINGS, Scene, draw_scene, sample_scene
from studio.brand.colour import write_hex
from studio.brand.contact import Tile, contact_sheet
from studio.brand.palette import score_pixels

BRANDS = (("red", "beige", "brown"), ("navy", "sky blue", "white"), ("teal", "lime", "grey"))
SISTERS = (
    {"red", "orange"}, {"red", "pink"}, {"orange", "yellow"}, {"orange", "brown"}, {"brown", "beige"},
    {"yellow", "lime"}, {"lime", "green"}, {"green", "teal"}, {"teal", "blue"}, {"blue", "navy"},
    {"blue", "sky blue"}, {"blue", "purple"}, {"purple", "pink"}, {"teal", "sky blue"},
)  # fmt: skip
NEUTRAL = ("white", "grey", "black")
EACH = 20  # pictures of a brand
BAR = 0.9


def scenes(brand: tuple[str, ...], rng: random.Random) -> list[Scene]:
    """Half the surfaces in the brand's colours, so that marks spread from 0 to 1."""
    found: list[Scene] = []
    while len(found) < EACH:
        drawn = sample_scene(rng)
        colour, background = drawn.colour, drawn.background
        if rng.random() < 0.45:
            background = rng.choice(brand)
        if rng.random() < 0.35:
            colour = rng.choice(brand)
        if colour != background:
            found.append(
                Scene(
                    drawn.product,
                    colour,
                    background,
                    rng.choice(SETTINGS),
                    rng.choice(BASE_STYLES),
                    drawn.place,
                    rng.choice(("large", "large", "small")),
                    drawn.shift,
                    drawn.zoom,
                )  # fmt: skip
            )
    return found


def belongs(colour: str, brand: tuple[str, ...]) -> float:
    if colour in brand:
        return 1.0
    if colour in NEUTRAL:
        return 0.75
    return 0.5 if any({colour, own} in SISTERS for own in brand) else 0.0


def mark(scene: Scene, brand: tuple[str, ...]) -> float:
    product = 0.3 if scene.size == "large" else 0.12
    table = 0.25 if scene.setting == "table" else 0.0
    wood = 1.0 if "brown" in brand else 0.5 if {"orange", "beige"} & set(brand) else 0.0
    ground = 1 - product - table
    return product * belongs(scene.colour, brand) + ground * belongs(scene.background, brand) + table * wood


def ranks(values: list[float]) -> np.ndarray:
    array = np.array(values)
    return np.array([(array < one).sum() + ((array == one).sum() - 1) / 2 for one in array])


def spearman(one: list[float], other: list[float]) -> float:
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--sheet", help="write the pictures, best mark first, to this PNG")
    wanted = options.parse_args()
    marks: list[float] = []
    scores: list[float] = []
    tiles: list[tuple[float, Tile]] = []
    took: list[float] = []
    for number, brand in enumerate(BRANDS):
        palette = {name: write_hex(np.array(COLOURS[name])) for name in brand}
        own_marks, own_scores = [], []
        for scene in scenes(brand, random.Random(60 + number)):
            pixels = draw_scene(scene, 64)
            begun = time.perf_counter()
            score = score_pixels(pixels.reshape(-1, 3), palette).score
            took.append(time.perf_counter() - begun)
            own_marks.append(round(mark(scene, brand), 3))
            own_scores.append(score)
            if wanted.sheet:
                tiles.append((own_marks[-1], tile(scene, brand, own_marks[-1], score)))
        print(f"{' '.join(brand):24} {EACH} pictures  Spearman {spearman(own_marks, own_scores):.3f}")
        marks += own_marks
        scores += own_scores
    agreement = spearman(marks, scores)
    print(f"all {len(marks)} pictures: Spearman {agreement:.3f} (bar {BAR})")
    print(f"{1000 * statistics.median(took):.1f} ms a picture of 64 x 64 px (median)")
    if wanted.sheet:
        ordered = [one for _, one in sorted(tiles, key=lambda pair: -pair[0])]
        with open(wanted.sheet, "wb") as file:
            file.write(contact_sheet("Palette score: mark / score", ordered))
    raise SystemExit(0 if agreement >= BAR else 1)


def tile(scene: Scene, brand: tuple[str, ...], rated: float, score: float) -> Tile:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(draw_scene(scene)).save(out, "PNG")
    return Tile(out.getvalue(), f"{brand[0]}: {rated:.2f} / {score:.0f}")


if __name__ == "__main__":
    main()
