"""Helpers of the review tests: pictures full of secrets, links on a running room, what a client sees."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
import numpy as np
from PIL import Image, PngImagePlugin

from studio.review.links import Chosen, LinkView, ShareRequest
from studio.review.review import Review
from studio.safety.outgoing import Outgoing

SECRET = "a secret prompt of the launch"
BRAND = {
    "title": {"en": "Guochao", "zh": "国潮"},
    "palette": {"cinnabar": "#C8102E", "gold": "#D4A24C", "porcelain": "#F5EBDD"},
}


def picture(seed: int = 0, size: tuple[int, int] = (160, 120), kind: str = "PNG") -> bytes:
    """With a prompt and a path in its notes, as the library's files have them."""
    drawn = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", f"{SECRET}\nSteps: 20, Seed: 4711, Model: pocket")
    notes.add_text("path", "/home/designer/pictures/launch.png")
    out = BytesIO()
    if kind == "PNG":
        drawn.save(out, "PNG", pnginfo=notes)
    else:
        exif = Image.Exif()
        exif[0x010E] = SECRET
        drawn.save(out, kind, exif=exif)
    return out.getvalue()


class Shelf(dict[str, bytes]):
    """Pictures by id, as a studio gives them to its review room; one that was not put there is drawn."""

    def give(self, id: str) -> Outgoing:
        data = self.get(id) or picture(int(id, 16) % 100)
        opened = Image.open(BytesIO(data))
        return Outgoing(Image.fromarray(np.asarray(opened.convert("RGB"))), "PNG", b"", lambda file, _: file)


def chosen(id: str = "a" * 32, group: str = "x", size: tuple[int, int] = (160, 120)) -> Chosen:
    return Chosen(id, *size, group)


@dataclass
class Rooms:
    review: Review
    shelf: Shelf = field(default_factory=Shelf)

    def share(self, count: int = 2, **asked: Any) -> LinkView:
        """The first two pictures are versions of each other."""
        names = [f"{index:032x}" for index in range(count)]
        rows = [chosen(name, "x" if i < 2 else name) for i, name in enumerate(names)]
        return self.review.share(ShareRequest(images=tuple(names), **asked), rows, BRAND)


def ids_of(page: httpx.Response) -> list[str]:
    return re.findall(r'data-picture="([0-9a-f]+)"', page.text)


def introduced(client: httpx.Client, url: str, name: str = "Ann") -> list[str]:
    """Opens the link and gives a name; the ids of its pictures."""
    page = client.get(url)
    assert page.status_code == 200, page.text
    assert client.post(f"{url}/name", data={"name": name}).status_code == 303
    return ids_of(page)


def chunks(png: bytes) -> set[str]:
    found, at = set(), 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        found.add(png[at + 4 : at + 8].decode())
        at += size + 12
    return found


def facts(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """All that tells one answer from another, save for the time of day."""
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k != "date"}
