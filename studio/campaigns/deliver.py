"""What a campaign gives: pictures under their names, a contact sheet, a table of results, a ZIP."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from studio.brand.contact import Tile, contact_sheet
from studio.brand.names import file_stem, safe
from studio.brand.table import write_csv
from studio.campaigns.grids import grid_picture
from studio.campaigns.store import CampaignView, ShotView
from studio.errors import NotFound
from studio.library import Library
from studio.schema import ImageRow

SUFFIX = {"jpeg": "jpg"}
Ruled = Callable[[ImageRow], str]  # the gravest light of a picture's rules with its reason
RESULT = (
    "row", "sku", "product", "scene", "channel", "preset", "size", "seed", "state", "file", "image",
    "seconds", "prompt", "error", "rules",
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A finished picture of a campaign. `folder`: its channel, else its size. `name`: file within it."""

    shot: ShotView
    image: ImageRow
    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


def pictures(view: CampaignView, shots: Sequence[ShotView], library: Library) -> list[Named]:
    """In the order of the sheet. The same campaign gives the same names every time."""
    rows = library.of_jobs([shot.job for shot in shots if shot.job])
    taken: dict[str, set[str]] = {}
    parts: dict[int, int] = {}
    found: list[Named] = []
    for shot in shots:
        parts[shot.row] = parts.get(shot.row, 0) + 1
        for image in rows.get(shot.job or "", ()):
            if image.trashed:
                continue
            folder = safe(shot.cells.get("channel", "")) or f"{image.width}x{image.height}"
            facts = {**shot.cells, **_facts(view, shot, parts[shot.row], image)}
            stem = file_stem(view.options.pattern, facts, taken.setdefault(folder, set()))
            taken[folder].add(stem.casefold())
            suffix = SUFFIX.get(image.format, image.format)
            found.append(Named(shot, image, folder, f"{stem}.{suffix}"))
    return found


def _facts(view: CampaignView, shot: ShotView, part: int, image: ImageRow) -> dict[str, str]:
    request = image.request
    return {
        "row": str(shot.row), "part": str(part), "index": str(image.index + 1),
        "size": f"{image.width}x{image.height}", "width": str(image.width), "height": str(image.height),
        "seed": str(image.seed), "preset": request.preset or "", "model": request.model,
        "scheduler": request.scheduler, "campaign": view.name,
    }  # fmt: skip


def channels(named: Sequence[Named]) -> dict[str, int]:
    """Pictures by folder, in the order of the sheet."""
    found: dict[str, int] = {}
    for one in named:
        found[one.folder] = found.get(one.folder, 0) + 1
    return found


def results(shots: Sequence[ShotView], named: Sequence[Named], ruled: Ruled) -> bytes:
    """CSV, one line for each picture and one for each run without any; no cell is a formula."""
    by_shot: dict[int, list[Named]] = {}
    for one in named:
        by_shot.setdefault(one.shot.place, []).append(one)
    lines: list[Sequence[object]] = [RESULT]
    for shot in shots:
        lines += [[*_line(shot, one), ruled(one.image)] for one in by_shot.get(shot.place, ())] or [
            [*_line(shot, None), ""]
        ]
    return write_csv(lines)


def _line(shot: ShotView, one: Named | None) -> list[object]:
    request, cells = shot.request, shot.cells
    error = str((shot.error or {}).get("message", ""))
    size = f"{one.image.width}x{one.image.height}" if one else f"{request.width}x{request.height}"
    return [
        shot.row, cells.get("sku", ""), cells.get("product", ""), cells.get("scene", ""),
        cells.get("channel", ""), request.preset or "", size, one.image.seed if one else request.seed,
        shot.state, one.path if one else "", one.image.id if one else "",
        f"{one.image.seconds:.2f}" if one else "", (one.image.request if one else request).prompt, error,
    ]  # fmt: skip


def sheet_picture(view: CampaignView, shots: Sequence[ShotView], named: Sequence[Named]) -> bytes:
    """PNG: a contact sheet, or the labelled grid that the campaign was made for."""
    if view.options.grid:
        first = {one.shot.place: one.image for one in reversed(named)}
        return grid_picture(view, shots, first)
    tiles = [Tile(_bytes(one.image), Path(one.name).stem) for one in named]
    return contact_sheet(f"{view.name} · {len(named)}", tiles)


def _bytes(image: ImageRow) -> bytes | None:
    try:
        return image.file.read_bytes()
    except OSError:
        return None


def write_zip(
    stream: IO[bytes],
    view: CampaignView,
    shots: Sequence[ShotView],
    named: Sequence[Named],
    ruled: Ruled,
    channel: str = "",
) -> None:
    """Pictures by folder, results and contact sheet; of one channel, or of all.

    Stored, not squeezed: pictures are squeezed already. Raises NotFound for a channel without pictures.
    """
    chosen = [one for one in named if channel in ("", one.folder)]
    if channel and not chosen:
        raise NotFound(f"No pictures in {channel[:80]!r}.", field="channel", code="channel_not_found")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files(view, shots, chosen, ruled):
            archive.writestr(path, data)


def write_folder(
    out: Path, view: CampaignView, shots: Sequence[ShotView], named: Sequence[Named], ruled: Ruled
) -> None:
    """The same files as the ZIP's, on the disk; what is there under these names is replaced."""
    for path, data in files(view, shots, named, ruled):
        file = out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        rough = file.with_name(f".{file.name}.tmp")
        rough.write_bytes(data)
        rough.replace(file)


def files(
    view: CampaignView, shots: Sequence[ShotView], named: Sequence[Named], ruled: Ruled
) -> Iterator[tuple[str, bytes]]:
    """(path, content), pictures first. A picture whose file is gone is left out."""
    for one in named:
        data = _bytes(one.image)
        if data is not None:
            yield one.path, data
    yield "results.csv", results(shots, named, ruled)
    if named:
        yield "contact-sheet.png", sheet_picture(view, shots, named)
