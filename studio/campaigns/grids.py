"""A grid as a campaign: its cells are shots, its result is one picture with labelled axes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image

from studio.brand.contact import axis_grid
from studio.brand.grid import NAMES, Axis, make_cells
from studio.brand.sheet import Resolve, Shot
from studio.brand.table import Cells
from studio.campaigns.store import CampaignView, ShotView
from studio.schema import GenerationRequest, ImageRow


def grid_shots(base: GenerationRequest, axes: Sequence[Axis], resolve: Resolve) -> tuple[Cells, list[Shot]]:
    """(table, shots): one row a cell. An open seed is drawn once, so that only the axes differ."""
    asked = base.model_dump(exclude_none=True) | {"count": 1}
    if base.seed is None or base.seed == -1:
        asked["seed"] = resolve(base).seed
    names = NAMES[: len(axes)]
    table: Cells = [[*names, "prompt"]]
    shots: list[Shot] = []
    for number, cell in enumerate(make_cells(asked, axes)):
        resolved = resolve(cell.request)
        cells = dict(zip(names, cell.labels, strict=True))
        table.append([*cell.labels, cell.request.prompt])
        shots.append(Shot(number + 2, 0, cells, cell.request, resolved))
    return table, shots


def grid_picture(view: CampaignView, shots: Sequence[ShotView], images: Mapping[int, ImageRow]) -> bytes:
    """PNG. `images`: by place of the shot. A z axis puts one grid under the other."""
    lengths = [len(axis["labels"]) for axis in view.options.grid] + [1, 1, 1]
    labels = [list(axis["labels"]) for axis in view.options.grid] + [[""], [""], [""]]
    across, down = lengths[0], lengths[1]
    sheets: list[bytes] = []
    for deep, title in enumerate(labels[2]):
        first = deep * across * down
        cells = [[_bytes(images.get(first + y * across + x)) for x in range(across)] for y in range(down)]
        sheets.append(axis_grid(f"{view.name} {title}".strip(), labels[0], labels[1], cells))
    return sheets[0] if len(sheets) == 1 else _stacked(sheets)


def _stacked(sheets: Sequence[bytes]) -> bytes:
    pages = [Image.open(io.BytesIO(sheet)) for sheet in sheets]
    whole = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), "white")
    y = 0
    for page in pages:
        whole.paste(page, (0, y))
        y += page.height
    out = io.BytesIO()
    whole.save(out, "PNG")
    return out.getvalue()


def _bytes(image: ImageRow | None) -> bytes | None:
    try:
        return None if image is None else image.file.read_bytes()
    except OSError:
        return None
