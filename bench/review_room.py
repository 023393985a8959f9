"""The review room under load: `python bench/review_room.py [--viewers 200] [--seconds 20]`.

Two claims. (1) 200 people who open one link at the same moment all get the page and every picture. (2) While
they do so over and over, work of the studio's own priority on every core loses at most 20 %. The visitors run
on the same machine, at the lowest priority; a visit is the page, its style and all its pictures over one
connection, as a browser that comes for the first time does.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from studio.review.links import Chosen, ShareRequest
from studio.review.review import Review
from studio.safety.outgoing import Outgoing
from studio.settings import Settings

PICTURES = 6
SIDE = 1024  # px


def give(id: str) -> Outgoing:
    """A smooth picture of SIDE px: about as heavy as a rendered one."""
    rough = np.random.default_rng(int(id, 16)).integers(0, 255, (24, 24, 3), np.uint8)
    smooth = Image.fromarray(rough).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Outgoing(smooth, "PNG", b"", lambda file, mime: file)


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str) -> bytes:
    """The body. Raises on any other answer than 200."""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.split(b"\r\n")[0].decode())
    length = re.search(rb"content-length: (\d+)", head)
    return await reader.readexactly(int(length[1]) if length else 0)


async def visit(url: str) -> tuple[float, float]:
    """Seconds to the page, and to the last picture."""
    place, began = urlsplit(url), time.perf_counter()
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        page = (await get(reader, writer, place.netloc, place.path)).decode()
        first = time.perf_counter() - began
        await get(reader, writer, place.netloc, f"{place.path}/room.css")
        for path in re.findall(r'<img src="([^"]+)"', page):
            await get(reader, writer, place.netloc, path)
    finally:
        writer.close()
    return first, time.perf_counter() - began


async def crowd(url: str, viewers: int) -> tuple[list[tuple[float, float]], list[str]]:
    """Visits that went well, and what the others met."""
    ended = await asyncio.gather(*(visit(url) for _ in range(viewers)), return_exceptions=True)
    good = [one for one in ended if isinstance(one, tuple)]
    return good, [repr(one) for one in ended if isinstance(one, BaseException)]


def crowds(url: str, viewers: int, stop: Event, visits: multiprocessing.Queue[int]) -> None:
    """Crowd after crowd until `stop`, at the lowest priority."""
    os.nice(19)
    done = 0
    while not stop.is_set():
        good, _ = asyncio.run(crowd(url, viewers))
        done += len(good)
    visits.put(done)


def work(seconds: float, done: multiprocessing.Queue[int]) -> None:
    """Matrix products on one core, as a denoising step is made of."""
    left = np.random.default_rng(0).random((256, 256), np.float32)
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        left = left @ left
        left /= np.abs(left).max()
        count += 1
    done.put(count)


def working(seconds: float) -> int:
    """Products in `seconds` on all cores together."""
    cores = os.cpu_count() or 1
    done: multiprocessing.Queue[int] = multiprocessing.Queue()
    hands = [multiprocessing.Process(target=work, args=(seconds, done)) for _ in range(cores)]
    for hand in hands:
        hand.start()
    total = sum(done.get() for _ in hands)
    for hand in hands:
        hand.join()
    return total


def room_in(home: Path) -> Review:
    return Review(Settings(home=home, review_port=0), give)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, closing(room_in(Path(home))) as review:
        review.start()
        chosen = [Chosen(f"{index:032x}", SIDE, SIDE, str(index)) for index in range(PICTURES)]
        request = ShareRequest(images=tuple(one.source for one in chosen))
        url = review.share(request, chosen, {}).url
        asyncio.run(crowd(url, 1))  # what is read once is read
        began = time.perf_counter()
        good, faults = asyncio.run(crowd(url, asked.viewers))
        took = time.perf_counter() - began
        first, whole = (sorted(times) for times in zip(*good, strict=True))
        print(f"{asked.viewers} at once: {len(good)} saw everything in {took:.1f} s, {len(faults)} did not")
        print("\n".join(sorted(set(faults))[:5]))
        for name, times in (("page", first), ("page and pictures", whole)):
            last = times[int(len(times) * 0.99) - 1]
            print(f"  {name}: median {statistics.median(times):.2f} s, 99 % within {last:.2f} s")
        alone = working(asked.seconds)
        stop, visits = multiprocessing.Event(), multiprocessing.Queue()
        load = multiprocessing.Process(target=crowds, args=(url, asked.viewers, stop, visits))
        load.start()
        beside = working(asked.seconds)
        stop.set()
        done = visits.get()
        load.join()
        lost = 1 - beside / alone
        print(f"work on all cores: {alone} alone, {beside} beside {done} visits: {lost:.1%} lost")
        print(f"visitors counted: {review.all()[0].viewers}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
