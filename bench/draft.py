"""Drafts beside whole pictures of the pocket model: seconds, and how far they are apart.

    python bench/draft.py [--rounds 3] [--steps 20]      2 min on an idle machine

What PSNR of a draft means is shown by two other figures: the same pictures with another seed, and with a
quarter of the steps less.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from int8 import apart, pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home, ratios = Path(place), []
        pictures("float32", home, 2)
        for turn in range(asked.rounds):
            found = {}
            for draft in (False, True) if turn % 2 == 0 else (True, False):
                found[draft] = pictures("float32", home, asked.steps, draft=draft)
            ratios.append(found[True][2] / found[False][2])
        whole = found[False][0]
        print(f"draft: {apart(whole, found[True][0])}")
        print(
            f"draft / whole in time: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
        fewer, _, _ = pictures("float32", home, asked.steps * 3 // 4)
        print(f"three quarters of the steps: {apart(whole, fewer)}")
        other, _, _ = pictures("float32", home, asked.steps, seed=99)
        print(f"another seed: {apart(whole, other)}")


if __name__ == "__main__":
    main()
