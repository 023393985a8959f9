"""A training from beginning to end: load, cache, train, write, check, add to the studio's styles."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Generator
from pathlib import Path

import torch
from PIL import Image

from studio.errors import BadRequest, Conflict, DiskLow
from studio.models import ModelRow, Models
from studio.schema import Done, Progress, Started, Trained
from studio.training import board, checkpoint, result
from studio.training.cache import Cache, fill, fitted
from studio.training.captions import with_trigger
from studio.training.dataset import Dataset, load_dataset, picture_file
from studio.training.forecast import forecast
from studio.training.loop import Course, Turn, best, learn
from studio.training.networks import DTYPES, Networks, Read, add_adapters, load_networks
from studio.training.plan import Places
from studio.training.prior import fill_classes
from studio.training.request import Training
from studio.training.runs import Run

BOARD = 4  # captions of pictures kept back that are drawn where no prompts were given
SPARE = 64 * 2**20  # bytes that stay free on the disk


Check = Callable[[Path, Networks, str], None]  # the finished file, networks without it, family


def train(
    run: Run,
    models: Models,
    places: Places,
    device: torch.device,
    read: Read | None = None,
    check: Check | None = None,
) -> Generator[Turn]:
    """Begins the run, or goes on where its newest checkpoint ends. Closing it pauses it.

    `read`: how networks are read; `check`: a last look at the finished file.

    Yields Started, Progress while the pictures are read, what `learn` yields, then Trained and Done.
    Raises DiskLow before anything is done, what `learn` and `checkpoint.read` raise, Conflict for a name that
    another LoRA took meanwhile.
    """
    begun = time.monotonic()
    with run.alone():
        yield from _train(run, models, places, device, read, check)
    yield Done(time.monotonic() - begun)


def _train(
    run: Run,
    models: Models,
    places: Places,
    device: torch.device,
    read: Read | None,
    check: Check | None,
) -> Generator[Turn]:
    training = run.training
    row, dataset = models.get(training.model), load_dataset(places.datasets, training.dataset)
    _check_room(run, training, row, dataset, places)
    yield Started()
    networks = load_networks(row.folder, device, DTYPES[training.precision], read)
    prompts = board_of(training, dataset)
    cache = Cache()
    yield from fill_classes(cache, networks, training, run, places, row.guidance)
    for done in fill(cache, networks, training, dataset, places.datasets, prompts):
        yield Progress(done, len(dataset.used), None)
    origin = checkpoint.origin_of(training, _hash_of(row.folder / "unet"))
    progressed, told = checkpoint.Progressed(), None
    if there := checkpoint.found(run.checkpoints):
        progressed, told = checkpoint.read(there[-1], origin)
    run.cut_log(progressed.step)
    course = Course(
        training, networks, cache, run, prompts, row.guidance,
        look=_look_of_set(networks, training, dataset, places), plain=None, origin=origin,
    )  # fmt: skip
    yield from _draw_plain(course)
    add_adapters(networks, training)
    yield from learn(course, progressed, told)
    epoch = best(progressed.epochs)
    yield publish(run, epoch, models, places, networks, check)


def publish(
    run: Run, epoch: int, models: Models, places: Places, networks: Networks, check: Check | None = None
) -> Trained:
    """The LoRA of one epoch among the studio's. Raises Conflict where another has its name."""
    training = run.training
    dataset = load_dataset(places.datasets, training.dataset)
    place = next(
        (one for one in checkpoint.found(run.checkpoints) if int(one.name) == run.step_of(epoch)), None
    )
    if place is None:
        raise BadRequest(
            f"Epoch {epoch} of this run has no checkpoint.",
            hint=f"Epochs 1 to {len(run.epochs())} have one.",
            field="epoch",
        )
    file = run.folder / "result.safetensors"
    result.write(place, file, training, dataset, epoch, run.told["created"])
    result.check_in_diffusers(file, networks)
    if check is not None:
        check(file, networks, training.family)
    row = models.add_lora(file, _free_name(models, training.name, file))
    run.note(state="completed", epoch=epoch, lora=row.name, sha256=checkpoint.sha256(file), ended=time.time())
    return Trained(row.name, run.id, epoch, row.bytes)


def take_epoch(
    run: Run,
    epoch: int,
    models: Models,
    places: Places,
    read: Read | None = None,
    check: Check | None = None,
) -> Trained:
    """Makes the style of another epoch the run's result. Raises what `publish` does."""
    folder = models.get(run.training.model).folder
    networks = load_networks(folder, torch.device("cpu"), torch.float32, read)
    return publish(run, epoch, models, places, networks, check)


def board_of(training: Training, dataset: Dataset) -> tuple[str, ...]:
    """The prompts that are drawn each epoch, with the trigger in each."""
    rows = dataset.held_out or dataset.training
    prompts = training.board or tuple(dict.fromkeys(entry.caption for entry in rows if entry.caption))[:BOARD]
    return tuple(with_trigger(prompt, training.trigger) for prompt in prompts)


def _draw_plain(course: Course) -> Generator[Turn]:
    """The board without the LoRA: drawn once a run, from then on read, so that scores stay comparable."""
    files = course.run.board(0)
    if len(files) != len(course.prompts):
        training = course.training
        for drawn in board.draw(
            course.networks, course.cache, course.prompts, training.size, course.guidance, training.seed
        ):
            for place, picture in enumerate(drawn or ()):
                course.run.keep_board(0, place, board.encoded(picture, "PNG"))
            yield None
    pictures = [Image.open(file).convert("RGB") for file in course.run.board(0)]
    course.plain = board.look_of(course.networks, pictures) if pictures else None


def _look_of_set(networks: Networks, training: Training, dataset: Dataset, places: Places) -> board.Look:
    rows = (*dataset.held_out, *dataset.training)[: board.LIKENESS]
    pictures = [
        fitted(
            Image.open(picture_file(places.datasets, dataset, entry)).convert("RGB"),
            (training.size, training.size),
        )
        for entry in rows
    ]
    return board.look_of(networks, pictures)


def _check_room(run: Run, training: Training, row: ModelRow, dataset: Dataset, places: Places) -> None:
    need = forecast(training, row.folder, dataset, places.runs).disk + SPARE
    free = shutil.disk_usage(run.folder).free
    if free < need:
        raise DiskLow(
            f"The checkpoints need {need / 2**30:.2f} GiB of disk; {free / 2**30:.2f} GiB is free.",
            hint="Make room, or ask for fewer epochs or a lower rank.",
        )


def _free_name(models: Models, name: str, file: Path) -> str:
    """`name`, or `name-2` where somebody else's LoRA took it while this one trained."""
    digest = checkpoint.sha256(file)
    taken = {row.name.casefold(): row.file for row in models.loras()}
    for number in range(1, 100):
        wanted = name if number == 1 else f"{name}-{number}"
        other = taken.get(wanted.casefold())
        if other is None or checkpoint.sha256(other) == digest:
            return wanted
    raise Conflict(f"There are 99 LoRAs called {name}.", hint="Remove some.")


def _hash_of(folder: Path) -> str:
    """Tells one model's weights from another's without reading gigabytes: sizes, first and last MiB."""
    told = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            told.update(f"{file.name} {file.stat().st_size}".encode() + stream.read(2**20))
            stream.seek(max(0, file.stat().st_size - 2**20))
            told.update(stream.read(2**20))
    return told.hexdigest()
