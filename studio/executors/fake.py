"""Pictures without a model: for tests of everything above the engine, and for looking at the page."""

from __future__ import annotations

import colorsys
import io
import threading
import time
import zlib
from collections.abc import Generator, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.errors import NotReady
from studio.schema import (
    MAX_SEED,
    Done,
    Epoch,
    Event,
    Learned,
    Preview,
    Progress,
    Rendered,
    ResolvedRequest,
    Started,
    WorkerStatus,
)


class FakeExecutor:
    """A gradient with noise, decided by prompt, seed and all else. `seconds_per_step`: of each picture."""

    def __init__(self, seconds_per_step: float = 0.0) -> None:
        self._pace = seconds_per_step
        self._started = False
        self._closed = threading.Event()

    def start(self) -> None:
        self._started = True

    def ready(self) -> bool:
        return self._started and not self._closed.is_set()

    def run(self, request: ResolvedRequest, inputs: Mapping[str, bytes]) -> Generator[Event]:
        begun = time.monotonic()
        self._check_open()
        yield Started()
        of = request.steps * request.count
        for index in range(request.count):
            pixels = _pixels(request, index, inputs)
            for step in range(1, request.steps + 1):
                self._closed.wait(self._pace)
                self._check_open()
                done = index * request.steps + step
                yield Progress(done, of, (of - done) * self._pace)
                if step == request.steps // 2:
                    yield Preview(index, _encode(pixels[::4, ::4], "JPEG"))
            seed = (request.seed + index) % (MAX_SEED + 1)
            height, width, _ = pixels.shape
            yield Rendered(index, seed, width, height, _encode(pixels, "PNG"), request.steps * self._pace)
        yield Done(time.monotonic() - begun)

    def train(self, training: str) -> Iterator[Event]:
        """Two epochs of ten steps that learn nothing."""
        self._check_open()
        yield Started()
        for step in range(1, 21):
            self._closed.wait(self._pace)
            self._check_open()
            yield Learned(step, 20, (20 - step) * self._pace, loss=1 / step)
            if step % 10 == 0:
                yield Epoch(step // 10, 2, 1 / step, None, None, step // 10)
        yield Done(20 * self._pace)

    def status(self) -> WorkerStatus:
        return WorkerStatus(ready=self.ready(), device="fake")

    def close(self) -> None:
        self._closed.set()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise NotReady("The studio is stopping.", hint="Start it again and generate again.")


def _pixels(request: ResolvedRequest, index: int, inputs: Mapping[str, bytes]) -> NDArray[np.uint8]:
    """(height, width, 3) after upscaling. The prompt decides the two colours, everything the noise."""
    request = request.of_picture(index)
    width, height = round(request.width * request.upscale), round(request.height * request.upscale)
    words = zlib.crc32(request.prompt.encode())
    everything = request.model_dump_json(exclude={"count", "seed", "format"}) + repr(sorted(inputs.items()))
    noise = np.random.default_rng([(request.seed + index) % (MAX_SEED + 1), zlib.crc32(everything.encode())])
    top, bottom = (np.array(colorsys.hsv_to_rgb((words >> bits) % 256 / 256, 0.6, 0.9)) for bits in (0, 8))
    slope = np.linspace(0, 1, height)[:, None, None]
    picture = (top * (1 - slope) + bottom * slope) * 255 + noise.normal(0, 6, (height, width, 3))
    return picture.clip(0, 255).astype(np.uint8)


def _encode(pixels: NDArray[np.uint8], kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, kind)
    return stream.getvalue()
