"""Protected marks in drawn scenes: `python -m bench.protected [--scenes 1000] [--placed 400] [--many 3000]`.

A mark of 12 to 40 % of the width, turned up to 10 degrees, recoloured, JPEG 80, in a scene of 512 px; as many
scenes without one as asked. Then the same with many protected pictures: what a check costs. CPU seconds, one
thread; 1,000 + 400 + 3,000 take about 10 minutes.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from bench.protected_marks import as_known, jpeg, place, scene
from studio.safety.protected import THRESHOLD
from studio.safety.protected_index import Index, Mark, levels_of, mark_of

MARKS = 30


def known(count: int) -> list[Mark]:
    """The drawn marks; past MARKS, others bent at random so that no two are alike."""
    marks = [mark_of(np.asarray(as_known(number))) for number in range(min(count, MARKS))]
    rng = np.random.default_rng(1)
    sources = [np.asarray(as_known(number).resize((192, 192))) for number in range(MARKS, MARKS + 200)]
    corners = np.array([[0, 0], [191, 0], [191, 191], [0, 191]], np.float32)
    while len(marks) < count:
        bent = (corners + rng.uniform(-65, 65, (4, 2))).astype(np.float32)
        bent -= bent.min(axis=0)
        size = tuple(int(side) + 1 for side in bent.max(axis=0))
        turn = cv2.getPerspectiveTransform(corners, bent)
        marks.append(mark_of(cv2.warpPerspective(sources[rng.integers(200)], turn, size)))
    return marks


def found(index: Index, placed: int) -> tuple[int, list[int]]:
    """How many marks were found, and the widths in px of those that were not."""
    missed = []
    for number in range(placed):
        mark = number % MARKS
        picture, box = place(scene(number), number, mark)
        if mark not in {hit.mark for hit in index.search(jpeg(picture), THRESHOLD)}:
            missed.append(box[2])
    return placed - len(missed), missed


def alarms(index: Index, scenes: int) -> int:
    return sum(bool(index.search(jpeg(scene(100_000 + number)), THRESHOLD)) for number in range(scenes))


def cost(index: Index, count: int = 40) -> tuple[float, float]:
    """Median CPU ms of a check, and of its part that grows with the number of protected pictures."""
    whole, votes = [], []
    for number in range(count):
        picture = jpeg(scene(200_000 + number))
        began = time.process_time()
        index.search(picture, THRESHOLD)
        whole.append(time.process_time() - began)
        levels = levels_of(picture)
        began = time.process_time()
        index.places(levels)
        votes.append(time.process_time() - began)
    return 1000 * float(np.median(whole)), 1000 * float(np.median(votes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--placed", type=int, default=400)
    parser.add_argument("--many", type=int, default=3_000)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    index = Index(known(MARKS))
    good, missed = found(index, asked.placed)
    print(
        f"recall {good / asked.placed:.1%} of {asked.placed}; widths missed: {sorted(missed)} px", flush=True
    )
    wrong = alarms(index, asked.scenes)
    print(f"false alarms {wrong / asked.scenes:.2%} of {asked.scenes} scenes without a mark", flush=True)
    for count in (MARKS, asked.many):
        began = time.process_time()
        index = Index(known(count))
        learned = time.process_time() - began
        whole, votes = cost(index)
        print(f"{count} protected: learned in {learned:.0f} s; {whole:.0f} ms a check, {votes:.0f} searching")
    good, _ = found(index, min(100, asked.placed))
    print(f"among {asked.many}: the right one in {good} of {min(100, asked.placed)}")


if __name__ == "__main__":
    main()
