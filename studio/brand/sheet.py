"""A campaign sheet: its rows, and each row as the requests it asks for, every bad cell named by its place."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from studio.brand.cells import (
    CONTROL,
    PRODUCT,
    read_control,
    read_lora,
    read_number,
    read_picture,
    read_product,
    read_size,
)
from studio.brand.columns import COLUMNS, WORDS, plain
from studio.brand.table import MAX_ROWS, Cells, place, read_table, refuse
from studio.errors import BadRequest, StudioError
from studio.schema import GenerationRequest, ResolvedRequest, parse

MAX_SHOTS = 5_000  # requests of one campaign
MAX_NAME = 80  # characters of a heading
SLOT = re.compile(r"\{([^{}|]{1,80})\}")
PICTURES = ("control_image", "init_image", "product_image")  # columns whose cells name one
GROUNDS = {"plain": "plain", "纯色": "plain", "transparent": "transparent", "透明": "transparent"}
PLAIN = ("prompt", "negative_prompt", "preset", "model", "scheduler", "init_image", "format")
NEARBY = ("on ", "in ", "at ", "by ", "with ", "under ", "over ", "beside ", "against ", "before ")


@dataclass(frozen=True)
class Row:
    """`number`: as a spreadsheet counts, the headings are row 1. `cells`: text by column name."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Sheet:
    """`columns`: names of `Row.cells` in the sheet's order; known ones as in columns.py, others as written.

    `headings`: what stands over them. `ignored`: columns that neither a setting nor a prompt uses.
    """

    columns: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()

    def where(self, row: int, column: str) -> str:
        """'D3' for the column of that name in row 3; the row alone where there is no such column."""
        return place(row, self.columns.index(column)) if column in self.columns else f"row {row}"


@dataclass(frozen=True)
class Shot:
    """One request of a row. `cells`: the row's, with one value in each. `part`: from 0 within its row.

    `resolved`: the request with nothing left open, None where nobody was there to fill it in.
    """

    row: int
    part: int
    cells: Mapping[str, str]
    request: GenerationRequest
    resolved: ResolvedRequest | None = None


@dataclass(frozen=True)
class Problem:
    """A cell that cannot be used. `cell`: 'D3'. `column`: its heading."""

    row: int
    column: str
    cell: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Plan:
    sheet: Sheet
    shots: tuple[Shot, ...] = ()
    problems: tuple[Problem, ...] = ()

    def check(self) -> None:
        """Raises BadRequest (`bad_sheet`) with the first problems, where there are any."""
        if not self.problems:
            return
        told = [f"{one.cell} ({one.column}): {one.message}" for one in self.problems[:5]]
        left = len(self.problems) - len(told)
        more = f" And {left} more." if left else ""
        raise refuse(" ".join(told) + more, self.problems[0].hint)


Resolve = Callable[[GenerationRequest], ResolvedRequest]  # raises StudioError for what only it knows


@dataclass(frozen=True)
class Defaults:
    """What rows get that say nothing else. `fields`: of a request. `pictures`: id by file name, folded.

    `size_for`: (width, height) in px that a preset has for a channel, both by name; None = none.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    size_for: Callable[[str, str], tuple[int, int] | None] = lambda preset, channel: None


def read_sheet(data: bytes) -> Sheet:
    """A CSV or XLSX file. Raises TooLarge and BadRequest (`bad_sheet`) for what has no rows to speak of."""
    return sheet_of(read_table(data))


def sheet_of(table: Cells) -> Sheet:
    """`table`: text cells, the headings first."""
    headings = tuple(heading.strip() for heading in table[0])
    if len(table) - 1 > MAX_ROWS:
        raise refuse(f"The sheet has {len(table) - 1} rows; at most {MAX_ROWS} are read.")
    columns = tuple(_column(number, heading) for number, heading in enumerate(headings))
    for number, name in enumerate(columns):
        if name in columns[:number]:
            cell = place(1, number)
            raise refuse(f"{cell}: the column {headings[number]!r} is there twice.", "Take one of them out.")
    rows = []
    for number, row in enumerate(table[1:], start=2):
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            raise refuse(f"{place(number, len(columns))}: this cell has no heading over it.")
        cells = dict(zip(columns, [cell.strip() for cell in row] + [""] * len(columns), strict=False))
        if any(cells.values()):
            rows.append(Row(number, cells))
    if not rows:
        raise refuse("The sheet has no rows under its headings.", "Give one row for each product.")
    if not {"prompt", "product"} & set(columns):
        raise refuse(
            "The sheet has neither a column prompt nor a column product.",
            f"Known columns: {', '.join(COLUMNS)}.",
        )
    used = {_slot(name) for row in rows for name in SLOT.findall(row.cells.get("prompt", ""))}
    ignored = tuple(name for name in columns if name not in COLUMNS and plain(name) not in used)
    return Sheet(columns, headings, tuple(rows), ignored)


def _column(number: int, heading: str) -> str:
    cell = place(1, number)
    if not heading:
        raise refuse(f"{cell}: the column has no heading.", "Name it, or take it out.")
    if len(heading) > MAX_NAME:
        raise refuse(f"{cell}: the heading has {len(heading)} characters; {MAX_NAME} fit.")
    word = plain(heading)
    if word in WORDS:
        return WORDS[word]
    close = difflib.get_close_matches(word, [one for one in WORDS if one.isascii()], n=1, cutoff=0.85)
    if close:
        raise refuse(f"{cell}: no column {heading!r}.", f"Did you mean {WORDS[close[0]]}?")
    return heading


def _slot(name: str) -> str:
    word = plain(name)
    return plain(WORDS.get(word, word))


def make_plan(sheet: Sheet, defaults: Defaults, resolve: Resolve | None = None) -> Plan:
    """Every request the sheet asks for, in its order, and every cell that stands in the way."""
    shots: list[Shot] = []
    problems: list[Problem] = []
    for row in sheet.rows:
        for part, cells in enumerate(_single(sheet, row, defaults)):
            if len(shots) == MAX_SHOTS:
                raise refuse(
                    f"Row {row.number}: with it the sheet asks for more than {MAX_SHOTS} runs.",
                    "Split it into several sheets.",
                )
            shot, found = _judge(sheet, Row(row.number, cells), part, defaults, resolve)
            problems += [problem for problem in found if problem not in problems]
            if shot is not None:
                shots.append(shot)
    return Plan(sheet, tuple(shots), tuple(problems))


def _judge(
    sheet: Sheet, row: Row, part: int, defaults: Defaults, resolve: Resolve | None
) -> tuple[Shot | None, list[Problem]]:
    """The shot, or every cell in its way: a bad one is noted, then left out to find the next."""
    found: list[Problem] = []
    cells = row.cells
    while True:
        try:
            request = make_request(cells, defaults)
            resolved = None if resolve is None else resolve(request)
            return (None if found else Shot(row.number, part, cells, request, resolved)), found
        except StudioError as error:
            name = _blamed(sheet, error)
            found.append(_problem(sheet, row.number, name, error))
            if not cells.get(name) or name in ("prompt", "product"):
                return None, found
            cells = {**cells, name: ""}


def _blamed(sheet: Sheet, error: StudioError) -> str:
    name = COLUMN_OF.get(error.field or "", (error.field or "prompt").split(".")[0])
    name = {"control": "control_image"}.get(name, name)
    if name not in sheet.columns and name in ("width", "height"):
        return "size"
    return "product" if name == "prompt" and name not in sheet.columns else name


def _problem(sheet: Sheet, row: int, name: str, error: StudioError) -> Problem:
    heading = sheet.headings[sheet.columns.index(name)] if name in sheet.columns else name
    return Problem(row, heading, sheet.where(row, name), error.message, error.hint)


COLUMN_OF = {f"control.{key}": column for column, key in CONTROL.items()} | {
    f"product.{key}": column for column, key in PRODUCT.items()
}


def _single(sheet: Sheet, row: Row, defaults: Defaults) -> Iterator[dict[str, str]]:
    """The row with one value in each cell: all combinations of those with | between them."""
    names = [name for name in sheet.columns if name in COLUMNS and COLUMNS[name].many]
    choices = [_values(name, row.cells[name], defaults) for name in names]
    total = 1
    for values in choices:
        total *= len(values)
    if total > MAX_SHOTS:
        raise refuse(f"Row {row.number} asks for {total} combinations; at most {MAX_SHOTS} are run.")
    for chosen in itertools.product(*choices):
        yield {**row.cells, **dict(zip(names, chosen, strict=True))}


def _values(name: str, cell: str, defaults: Defaults) -> list[str]:
    values = [one.strip() for one in cell.split("|")]
    values = [one for one in values if one] or [""]
    if name not in PICTURES:
        return values
    found: list[str] = []
    for value in values:  # "edges/" stands for every picture of that folder
        inside = [file for file in sorted(defaults.pictures) if file.startswith(value.casefold())]
        found += inside if value.endswith("/") and inside else [value]
    return found


def make_request(cells: Mapping[str, str], defaults: Defaults) -> GenerationRequest:
    """Raises StudioError whose field says which column is at fault."""
    asked: dict[str, Any] = dict(defaults.fields)
    asked["prompt"] = _prompt(cells)
    for name in PLAIN[1:]:
        if cells.get(name):
            asked[name] = cells[name].casefold() if name == "format" else cells[name]
    asked |= read_size(cells) or _size_of_channel(cells, asked, defaults)
    for name in ("steps", "guidance", "seed", "count", "strength", "upscale"):
        if cells.get(name):
            asked[name] = read_number(name, cells[name])
    if cells.get("loras"):
        asked["loras"] = [read_lora(one) for one in re.split(r"[;|]", cells["loras"]) if one.strip()]
    control = {key: cells[name] for name, key in CONTROL.items() if cells.get(name)}
    if control:
        asked["control"] = read_control(control, cells, defaults.pictures)
    if cells.get("init_image"):
        asked["init_image"] = read_picture("init_image", cells["init_image"], defaults.pictures)
    product = {key: cells[name] for name, key in PRODUCT.items() if cells.get(name)}
    if product:
        asked["product"] = read_product(product, asked.get("product") or {}, defaults.pictures)
    ground = _ground(cells)
    if ground:
        asked["background"] = ground
    return parse(GenerationRequest, asked)


def _prompt(cells: Mapping[str, str]) -> str:
    """The prompt's own text with `{column}` filled in, or one made of product, colour, background, scene."""
    if not cells.get("prompt"):
        return _described(cells)
    known = {plain(name): value for name, value in cells.items()}
    if _ground(cells):
        known["background"] = "plain"

    def fill(found: re.Match[str]) -> str:
        word = _slot(found[1])
        if word not in known:
            names = ", ".join(name for name in cells if name != "prompt")
            raise BadRequest(
                f"{found[0]} names no column of the sheet.", field="prompt", hint=f"Columns: {names}."
            )
        return known[word]

    return SLOT.sub(fill, cells["prompt"])


def _described(cells: Mapping[str, str]) -> str:
    """'a red sneaker on a blue background, on a table, glossy' of what the row says."""
    product = cells.get("product", "")
    background = "plain" if _ground(cells) else cells.get("background", "")
    if not product:
        raise BadRequest("The row has neither a prompt nor a product.", field="prompt")
    thing = " ".join(filter(None, (cells.get("colour", ""), product)))
    words = [_with_article(thing)]
    if background:
        ground = background if "background" in background.casefold() else f"{background} background"
        words[0] += f" on {_with_article(ground)}"
    scene = cells.get("scene", "")
    if scene and not background and scene.casefold().startswith(NEARBY):
        words[0] += f" {scene}"
    elif scene:
        words.append(scene)
    return ", ".join(filter(None, [*words, cells.get("style", "")]))


def _ground(cells: Mapping[str, str]) -> str:
    """The background's cell as a request says it where it asks for a cut-out; '' where it is the scene's."""
    cell = cells.get("background", "").casefold()
    return cell if cell.startswith("#") else GROUNDS.get(cell, "")


def _with_article(words: str) -> str:
    first = words.split()[0].casefold()
    if not words.isascii() or first in ("a", "an", "the", "one", "two", "three", "some"):
        return words
    if words.casefold().endswith("headphones"):
        return words
    return f"{'an' if first[0] in 'aeiou' else 'a'} {words}"


def _size_of_channel(
    cells: Mapping[str, str], asked: Mapping[str, Any], defaults: Defaults
) -> dict[str, int]:
    """What the row's brand has for its channel: a row that says no size is as large as its place needs."""
    size = None
    if cells.get("channel") and asked.get("preset"):
        size = defaults.size_for(asked["preset"], cells["channel"])
    return {} if size is None else {"width": size[0], "height": size[1]}


def table_of(sheet: Sheet) -> Cells:
    """Text cells with the headings first: what `sheet_of` reads again, each row under the number it had."""
    table = [list(sheet.headings), *([""] * len(sheet.columns) for _ in range(sheet.rows[-1].number - 1))]
    for row in sheet.rows:
        table[row.number - 1] = [row.cells[name] for name in sheet.columns]
    return table
