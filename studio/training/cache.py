"""What never changes while a LoRA trains is worked out once: latents of pictures, text of captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.training.buckets import Size, buckets, crop, nearest
from studio.training.captions import with_trigger
from studio.training.dataset import Dataset, Entry, picture_file
from studio.training.networks import Networks, Text, encode
from studio.training.request import Training


@dataclass(frozen=True)
class Lesson:
    """A picture as the UNet sees it. `mean`, `std`: (4, h, w) of its latents; the mirrored ones if asked.

    `shape`: (6) original height and width, crop corner, height and width, in px.
    """

    entry: Entry
    caption: str
    bucket: Size
    shape: Tensor
    moments: tuple[tuple[Tensor, Tensor], ...]


@dataclass
class Cache:
    """`texts`: caption -> Text, with '' for the empty side; empty while the text encoders train.

    `classes`: pictures of the kind of thing that is trained on, for prior preservation; see prior.py.
    """

    lessons: list[Lesson] = field(default_factory=list)
    held_out: list[Lesson] = field(default_factory=list)
    classes: list[Lesson] = field(default_factory=list)
    texts: dict[str, Text] = field(default_factory=dict)

    def text(self, networks: Networks, caption: str) -> Text:
        return self.texts[caption] if caption in self.texts else encode(networks, caption)


def fill(
    cache: Cache, networks: Networks, training: Training, dataset: Dataset, home: Path, board: Sequence[str]
) -> Iterator[int]:
    """Yields after each picture, so that who shares the device gets a turn. Pictures done so far."""
    for number, entry in enumerate(dataset.used):
        picture = Image.open(picture_file(home, dataset, entry)).convert("RGB")
        caption = with_trigger(entry.caption, training.trigger)
        lesson = lesson_of(networks, training, entry, picture, caption)
        (cache.held_out if entry.held_out else cache.lessons).append(lesson)
        yield number + 1
    if not training.text_encoder:
        known = (*cache.classes, *cache.lessons, *cache.held_out)
        captions = ["", *board, training.prior, *(one.caption for one in known)]
        with torch.no_grad():
            cache.texts.update({caption: encode(networks, caption) for caption in dict.fromkeys(captions)})


def fitted(picture: Image.Image, bucket: Size) -> Image.Image:
    """The middle of a picture at the size of its bucket."""
    box = crop(picture.width, picture.height, bucket)
    return picture.resize(bucket, Image.Resampling.LANCZOS, box=box)


def to_tensor(picture: Image.Image) -> Tensor:
    """(1, 3, height, width) in -1..1."""
    pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy())
    return pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1


@torch.no_grad()
def lesson_of(
    networks: Networks, training: Training, entry: Entry, picture: Image.Image, caption: str
) -> Lesson:
    """`caption`: as it is learned, trigger and all."""
    bucket = nearest(picture.width, picture.height, buckets(training.size, networks.unit))
    small = to_tensor(fitted(picture, bucket)).to(networks.device)
    views = [small, small.flip(-1)] if training.flip else [small]
    moments = []
    for view in views:
        told = networks.vae.encode(view).latent_dist
        scale, shift = networks.vae.config.scaling_factor, networks.vae.config.shift_factor or 0.0
        moments.append(((told.mean[0] - shift) * scale, told.std[0] * scale))
    left, top, right, bottom = crop(picture.width, picture.height, bucket)
    share = bucket[0] / (right - left)  # the corner is told in px of the scaled picture, as SDXL learned it
    shape = [
        picture.height, picture.width, round(top * share), round(left * share), bucket[1], bucket[0]
    ]  # fmt: skip
    return Lesson(
        entry=entry,
        caption=caption,
        bucket=bucket,
        shape=torch.tensor(shape, dtype=torch.float32, device=networks.device),
        moments=tuple(moments),
    )
