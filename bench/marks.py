"""What the invisible mark survives, beside invisible-watermark's rivaGan where that is installed.

`python -m bench.marks`: about 10 minutes when it is quiet. Pictures: drawn scenes and scikit-image's. Both
get 32 bits; a mark counts as read when all 32 are right. rivaGan takes pictures above 256 px only, has no
error correction and cannot say that a picture has no mark. It is no dependency: a folder that holds
invisible-watermark, PyWavelets and onnxruntime goes onto PYTHONPATH.

False alarms are far too rare to count (24 bits of check): so unmarked pictures are also read with 12 of those
bits looked at, and what passes then is divided by 4096.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from pocket.scenes import draw_scene, sample_scene
from studio.safety import mark_code
from studio.safety.mark import Marker

Picture = NDArray[np.uint8]
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def encoded(picture: Picture, kind: str, quality: int) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def resized(picture: Picture, share: float) -> Picture:
    size = round(picture.shape[1] * share), round(picture.shape[0] * share)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def cropped(picture: Picture, share: float = 0.9) -> Picture:
    height, width = picture.shape[:2]
    top, left = int(height * (1 - share) / 3), int(width * (1 - share) / 2)
    return picture[top : top + int(height * share), left : left + int(width * share)]


ATTACKS: dict[str, Callable[[Picture], Picture]] = {
    "nothing": lambda picture: picture,
    "JPEG 80": lambda picture: encoded(picture, "JPEG", 80),
    "JPEG 60": lambda picture: encoded(picture, "JPEG", 60),
    "WebP 80": lambda picture: encoded(picture, "WEBP", 80),
    "50 %": lambda picture: resized(picture, 0.5),
    "150 %": lambda picture: resized(picture, 1.5),
    "10 % crop": cropped,
    "50 % and JPEG 80": lambda picture: encoded(resized(picture, 0.5), "JPEG", 80),
    "73 %": lambda picture: resized(picture, 0.73),
}


class Ours:
    name = "ours"

    def __init__(self) -> None:
        self.marker = Marker()

    def embed(self, picture: Picture, id: int) -> Picture:
        return self.marker.embed(picture, id)

    def read(self, picture: Picture) -> int | None:
        reading = self.marker.read(picture)
        return None if reading is None else reading.id


class RivaGan:
    name = "rivaGan"

    def __init__(self, imwatermark: Any) -> None:
        self.encoder = imwatermark.WatermarkEncoder()
        self.decoder = imwatermark.WatermarkDecoder("bits", 32)
        self.encoder.loadModel()
        self.decoder.loadModel()

    def embed(self, picture: Picture, id: int) -> Picture:
        self.encoder.set_watermark("bits", [id >> place & 1 for place in range(32)])
        return np.asarray(self.encoder.encode(picture[..., ::-1].copy(), "rivaGan")[..., ::-1], np.uint8)

    def read(self, picture: Picture) -> int | None:
        bits = self.decoder.decode(picture[..., ::-1].copy(), "rivaGan")
        return None if len(bits) != 32 else sum(int(bit) << place for place, bit in enumerate(bits))


def drawn(count: int, size: int) -> list[Picture]:
    rng = random.Random(5)
    return [draw_scene(sample_scene(rng), size) for _ in range(count)]


def photographs(size: int) -> list[Picture]:
    return [cv2.resize(getattr(data, name)(), (size, size)) for name in PHOTOGRAPHS]


def measure(way: Ours | RivaGan, shown: list[Picture]) -> tuple[float, dict[str, int]]:
    rng = random.Random(9)
    loud, read = [], dict.fromkeys(ATTACKS, 0)
    for picture in shown:
        id = rng.getrandbits(32)
        marked = way.embed(picture, id)
        loud.append(np.mean((marked.astype(float) - picture) ** 2))
        for name, attack in ATTACKS.items():
            read[name] += way.read(attack(marked)) == id
    return float(10 * np.log10(255**2 / np.mean(loud))), read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="drawn pictures of each size")
    parser.add_argument("--rival", type=int, default=6, help="drawn pictures for rivaGan, which is slow")
    parser.add_argument("--plain", type=int, default=1000, help="unmarked pictures")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    asked = parser.parse_args()
    ways: list[Ours | RivaGan] = [Ours()]
    try:
        import imwatermark
    except ImportError:
        sys.stderr.write("invisible-watermark is not installed: ours alone\n")
    else:
        ways.append(RivaGan(imwatermark))
    for size in asked.sizes:
        for way in ways if size > 256 else ways[:1]:
            count = asked.count if isinstance(way, Ours) else asked.rival
            for kind, shown in (("drawn", drawn(count, size)), ("photographs", photographs(size))):
                psnr, read = measure(way, shown)
                rows = "  ".join(f"{name} {share / len(shown):.2f}" for name, share in read.items())
                sys.stdout.write(f"{size} px {way.name} {len(shown)} {kind}, {psnr:.1f} dB  {rows}\n")
                sys.stdout.flush()
    ours, rng = Ours(), random.Random(1)
    plain = [draw_scene(sample_scene(rng), 128) for _ in range(asked.plain)]
    false = sum(ours.read(picture) is not None for picture in plain)
    with mock.patch.object(mark_code, "_checked", half_checked):
        passed = sum(ours.read(picture) is not None for picture in plain)
    rate = -np.log(1 - min(passed, asked.plain - 0.5) / asked.plain) / 4096  # several may pass in one picture
    sys.stdout.write(f"unmarked: {false} of {asked.plain} taken for marked; expected rate {rate:.1e}\n")


def half_checked(bits: NDArray[np.int64]) -> int | None:
    """As the decoder's own, by the last 12 of the 24 bits of check."""
    word = int("".join(map(str, bits[: mark_code.ID_BITS + mark_code.CHECK_BITS])), 2)
    id, check = divmod(word, 1 << mark_code.CHECK_BITS)
    return id if check & 0xFFF == mark_code.check_of(id) & 0xFFF else None


if __name__ == "__main__":
    main()
