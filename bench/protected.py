"""Protected marks in drawn scenes: `python -m bench.protected [--scenes 1000] [--placed 400] [--many 10000]`.

A mark of 12 to 40 % of the width, turned up to 10 degrees, recoloured, JPEG 80, in a scene of 512 px; as many
scenes without one as asked. Then the same with many protected pictures: what a check costs, how many of the
marks are still found and how many scenes raise an alarm. CPU seconds, one thread; about 8 minutes.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from bench.protected_marks import as_known, jpeg, place, scene
from studio.safety.protected import THRESHOLD
from studio.safety.protected_index import Index, Records, bounded, learned, levels_of
from studio.safety.protected_poses import mark_of

MARKS = 30


def known(count: int) -> Records:
    """The drawn marks; past MARKS, others bent at random so that no two are alike."""
    marks = [learned(mark_of(np.asarray(as_known(number)))) for number in range(min(count, MARKS))]
    rng = np.random.default_rng(1)
    sources = [np.asarray(as_known(number).resize((192, 192))) for number in range(MARKS, MARKS + 200)]
    corners = np.array([[0, 0], [191, 0], [191, 191], [0, 191]], np.float32)
    while len(marks) < count:
        bent = (corners + rng.uniform(-65, 65, (4, 2))).astype(np.float32)
        bent -= bent.min(axis=0)
        size = tuple(int(side) + 1 for side in bent.max(axis=0))
        turn = cv2.getPerspectiveTransform(corners, bent)
        marks.append(learned(mark_of(cv2.warpPerspective(sources[rng.integers(200)], turn, size))))
    return np.stack(marks)


def found(index: Index, placed: int) -> tuple[int, list[int]]:
    """How many marks were found, and the widths in px of those that were not."""
    missed = []
    for number in range(placed):
        mark = number % MARKS
        picture, box = place(scene(number), number, mark)
        if mark not in {hit.mark for hit in index.search(jpeg(picture), THRESHOLD)}:
            missed.append(box[2])
    return placed - len(missed), missed


def alarms(index: Index, scenes: int) -> list[int]:
    """The marks that were taken for seen, the best of each scene with one."""
    hits = (index.search(jpeg(scene(100_000 + number)), THRESHOLD) for number in range(scenes))
    return [hit[0].mark for hit in hits if hit]


def cost(index: Index, count: int = 60) -> str:
    """CPU ms of a check, the median and of its parts; every second picture holds a mark."""
    times = []
    for number in range(count):
        picture = scene(200_000 + number)
        if number % 2:
            picture, _ = place(picture, number, number % MARKS)
        picture = jpeg(picture)
        marks = [time.process_time()]
        levels = levels_of(bounded(picture))
        marks.append(time.process_time())
        index.places(levels)
        marks.append(time.process_time())
        index.search(picture, THRESHOLD)
        marks.append(time.process_time())
        times.append(np.diff(marks))
    lines, votes, whole = np.median(times, axis=0) * 1000
    most = 1000 * float(np.quantile([check for _, _, check in times], 0.95))
    return f"{whole:.0f} ms a check (95 %: {most:.0f}): lines and corners {lines:.0f}, votes {votes:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--placed", type=int, default=400)
    parser.add_argument("--many", type=int, default=10_000)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    for count, share in ((MARKS, 1), (asked.many, 4)):
        began = time.process_time()
        marks = known(count)
        taught = time.process_time()
        index = Index(marks)
        print(f"{count} protected: drawn and learned in {taught - began:.0f} s, sorted in", end=" ")
        print(f"{time.process_time() - taught:.1f} s; {cost(index)}", flush=True)
        placed, scenes = asked.placed // share, asked.scenes // share
        good, missed = found(index, placed)
        print(f"  recall {good / placed:.1%} of {placed}; widths missed: {sorted(missed)} px", flush=True)
        wrong = alarms(index, scenes)
        print(f"  false alarms {len(wrong) / scenes:.2%} of {scenes} scenes without one: {sorted(wrong)}")


if __name__ == "__main__":
    main()
