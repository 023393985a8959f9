"""Do the safe area and the logo's clear space light up where a drawn scene says they should? 10 s, one core.

    python -m bench.rule_lights [--scenes 300] [--side 512]

Scenes are drawn by pocket/scenes.py, which also says where the product is. A product that reaches into a
margin, or into the logo's ground, ought not to be green; a scene without one there ought to be.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter

import numpy as np

from pocket.scenes import STYLES, draw_with_mask, sample_scene
from studio.brand.logo import fit
from studio.brand.rules import MARGIN, Spot, Subject, edges_of, judge_logo, judge_safe_area

LOGO = (800, 300)  # px of the logo's file: bottom right, 20 % of the width, half its height clear
LEAST = 0.02  # share of the logo's ground from which a product counts as being there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    asked = parser.parse_args()
    rng, side = random.Random(1), asked.side
    band = round(side * MARGIN)
    left, top, width, height = fit((side, side), LOGO, "bottom-right", 0.2, 0.5)
    space = round(0.5 * height)
    spot = Spot((left, top, width, height), 0.2 * side, space)
    found: dict[str, Counter[str]] = {}
    for _ in range(asked.scenes):
        scene = sample_scene(rng, STYLES)
        picture, mask = draw_with_mask(scene, side)
        product = np.asarray(mask).reshape(side, side, -1)[..., 0] > 0.5
        margins = (product[:band], product[-band:], product[:, :band], product[:, -band:])
        ground = product[max(0, top - space) :, max(0, left - space) :]
        subject = Subject(side, side, edges=edges_of(np.asarray(picture, np.uint8)), logo=spot)
        framed = " framed" if scene.style == "guochao" else ""
        for name, there, judged in (
            ("safe area", any(part.any() for part in margins), judge_safe_area(subject)),
            ("logo", ground.mean() > LEAST, judge_logo(subject)),
        ):
            key = f"{name}: product {'there' if there else 'not there'}{framed}"
            found.setdefault(key, Counter())[judged[0]] += 1
    print(json.dumps({key: dict(counts) for key, counts in sorted(found.items())}, indent=1))


if __name__ == "__main__":
    main()
