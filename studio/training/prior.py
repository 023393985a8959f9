"""Prior preservation: beside the new pictures the model keeps drawing what it drew of the same kind before.

Source: Ruiz et al. 2022, arXiv:2208.12242, section 3.2. Pictures of the class are made by the model itself
before it learns anything, or come from a set of one's own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from studio.schema import Progress
from studio.training import board
from studio.training.cache import Cache, Lesson, lesson_of
from studio.training.dataset import Entry, load_dataset, picture_file
from studio.training.networks import Networks
from studio.training.plan import Places
from studio.training.request import Training
from studio.training.runs import Run

AT_ONCE = 4  # pictures that are made in one go


def fill_classes(
    cache: Cache, networks: Networks, training: Training, run: Run, places: Places, guidance: float
) -> Iterator[Progress | None]:
    """Lessons of the class into `cache.classes`. Pictures that the run made already are read, not made anew.

    Yields between the steps of those it makes.
    """
    if not training.prior:
        return
    if training.prior_set:
        yield from _from_set(cache, networks, training, places)
        return
    folder = run.folder / "class"
    folder.mkdir(exist_ok=True)
    of = training.prior_pictures
    while (done := len(list(folder.glob("*.png")))) < of:
        done -= done % AT_ONCE  # a group that a kill cut in two is made anew, in the same company
        prompts = [training.prior] * min(AT_ONCE, of - done)
        seed = training.seed + done  # picture i from seed + i, however many are made at once
        for drawn in board.draw(networks, cache, prompts, training.size, guidance, seed):
            for place, picture in enumerate(drawn or ()):
                _write(folder / f"{done + place:04d}.png", picture)
            yield None
        yield Progress(min(done + AT_ONCE, of), of, None)
    for file in sorted(folder.glob("*.png"))[:of]:
        _learn(cache, networks, training, Entry(file.name, caption=training.prior), file)
        yield None


def chosen(classes: Sequence[Lesson], count: int, chance: random.Random) -> list[Lesson]:
    """`count` lessons of one aspect, drawn by chance; fewer where that aspect has no more."""
    first = chance.choice(classes)
    alike = [lesson for lesson in classes if lesson.bucket == first.bucket]
    return chance.sample(alike, min(count, len(alike)))


def _from_set(
    cache: Cache, networks: Networks, training: Training, places: Places
) -> Iterator[Progress | None]:
    dataset = load_dataset(places.datasets, training.prior_set)
    for number, entry in enumerate(dataset.used):
        _learn(cache, networks, training, entry, picture_file(places.datasets, dataset, entry))
        yield Progress(number + 1, len(dataset.used), None)


def _learn(cache: Cache, networks: Networks, training: Training, entry: Entry, file: Path) -> None:
    """Without the trigger: these pictures are what it is not about."""
    caption = entry.caption or training.prior
    with Image.open(file) as opened:
        cache.classes.append(lesson_of(networks, training, entry, opened.convert("RGB"), caption))


def _write(file: Path, picture: Image.Image) -> None:
    rough = file.with_suffix(".tmp")
    picture.save(rough, "PNG")
    rough.rename(file)  # whole or not there: after a kill it counts what is there
