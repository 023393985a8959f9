"""Prompts that are drawn: `{a|b}` picks one, `__name__` takes a line of a file, each picture by its own seed.

A drawn prompt drawn again is itself: a backslash keeps its bracket plain and stays, and braces that offer no
choice are text as before. Source of the notation: docs/SYNTAX.md of adieyal/sd-dynamic-prompts; what differs
is in docs/brand.md.
"""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from studio.errors import BadRequest, NotFound, TooLarge
from studio.schema import MAX_PROMPT, MAX_SEED, nearest_names

MAX_DEPTH = 16  # braces within braces, and files within files
MAX_PICKS = 500  # of one prompt
MAX_FILES = 1_000
MAX_BYTES = 2**20  # of one file
MAX_LINES = 10_000
MAX_NAME = 120  # characters, folders included
# A part of a name; at most four of them with / between. No dots: nothing leaves the folder.
PART = re.compile(r"\w(?:[\w -]{0,62}\w)?")
MAX_PARTS = 4

# Possessive or bounded everywhere, so that time grows with the length only.
_TOKEN = re.compile(
    rf"""
      (?P<escaped>\\.)
    | __(?P<name>[^\s_{{}}|\\](?:[^\n{{}}|\\]{{0,{MAX_NAME - 2}}}?[^\s_{{}}|\\])?)__
    | (?P<open>\{{)
      (?:(?P<least>\d{{1,2}})(?:-(?P<most>\d{{1,2}}))?\$\$(?:(?P<joint>[^${{}}|\\]{{0,20}})\$\$)?)?
    | (?P<bar>\|)
    | (?P<close>\}})
    | (?P<text>[^\\_{{}}|]++|.)
    """,
    re.VERBOSE | re.DOTALL,
)

Files = Callable[[str], Sequence[str]]  # lines by name; raises StudioError


@dataclass(frozen=True)
class _Reference:
    name: str


@dataclass
class _Group:
    """`typed`: how it began. `most` 0: it says not how many, so one."""

    typed: str
    least: int = 1
    most: int = 0
    joint: str = ", "
    options: list[Nodes] = field(default_factory=lambda: [[]])

    @property
    def chooses(self) -> bool:
        return len(self.options) > 1 or self.most > 0


Nodes = list[str | _Reference | _Group]


class Template:
    """`text` read once. Raises BadRequest (`wildcard_depth`)."""

    def __init__(self, text: str) -> None:
        self._nodes = _read(text)

    @property
    def draws(self) -> bool:
        """Whether there is anything to draw; a text without is itself for every seed."""
        return any(not isinstance(node, str) for node in self._nodes)

    def draw(self, seed: int, files: Files) -> str:
        """The same for the same seed and files, on every machine.

        Raises what `files` raises, BadRequest (`wildcard_depth`, `wildcard_picks`, `bad_length`).
        """
        found = _Draw(seed, files).text(self._nodes, 0)
        if len(found) > MAX_PROMPT:
            raise _refuse(f"The drawn prompt has {len(found)} characters; {MAX_PROMPT} fit.", "bad_length")
        return found


class _Draw:
    def __init__(self, seed: int, files: Files) -> None:
        self._random, self._files, self._picks = random.Random(seed), files, 0

    def text(self, nodes: Nodes, depth: int) -> str:
        return "".join(node if isinstance(node, str) else self._drawn(node, depth) for node in nodes)

    def _drawn(self, node: _Reference | _Group, depth: int) -> str:
        if depth == MAX_DEPTH:
            raise _refuse(
                f"Wildcards call each other more than {MAX_DEPTH} deep.", "wildcard_depth",
                "One of the files may name itself.",
            )  # fmt: skip
        if isinstance(node, _Reference):
            lines = self._files(node.name)
            return self.text(_read(lines[self._below(len(lines))]), depth + 1)
        left, parts = list(node.options), []
        for _ in range(min(len(left), self._how_many(node))):
            parts.append(self.text(left.pop(self._below(len(left))), depth + 1).strip())
        return node.joint.join(parts)

    def _how_many(self, group: _Group) -> int:
        if group.most <= group.least:
            return group.least
        return group.least + self._below(group.most - group.least + 1)

    def _below(self, count: int) -> int:
        """0 to `count` less one. Of Python's generators only `random()` is the same in every version."""
        self._picks += 1
        if self._picks > MAX_PICKS:
            raise _refuse(f"The prompt draws more than {MAX_PICKS} times.", "wildcard_picks")
        return int(self._random.random() * count)


def _read(text: str) -> Nodes:
    """Braces that do not close, or offer no choice, are text."""
    open_groups: list[_Group] = []
    nodes: Nodes = []
    for token in _TOKEN.finditer(text):
        here = open_groups[-1].options[-1] if open_groups else nodes
        if token["name"] is not None:
            here.append(_Reference(token["name"]))
        elif token["open"] is not None:
            if len(open_groups) == MAX_DEPTH:
                said = f"Braces nest deeper than {MAX_DEPTH} at column {token.start() + 1}."
                raise _refuse(said, "wildcard_depth")
            open_groups.append(_group(token))
        elif token["bar"] is not None and open_groups:
            open_groups[-1].options.append([])
        elif token["close"] is not None and open_groups:
            group = open_groups.pop()
            above = open_groups[-1].options[-1] if open_groups else nodes
            above.extend([group] if group.chooses else [*_plain(group), "}"])
        else:
            here.append(token[0])
    for group in open_groups:  # they never closed; each lies at the end of the one before it
        nodes.extend(_plain(group))
    return nodes


def _group(token: re.Match[str]) -> _Group:
    if token["least"] is None:
        return _Group(token[0])
    least = int(token["least"])
    joint = ", " if token["joint"] is None else token["joint"]
    return _Group(token[0], least, int(token["most"] or least) or 1, joint)


def _plain(group: _Group) -> Iterator[str | _Reference | _Group]:
    """What was typed between its brace and the end; choices within it stay choices."""
    yield group.typed
    for number, option in enumerate(group.options):
        if number:
            yield "|"
        yield from option


@dataclass(frozen=True)
class WildcardFile:
    """`name` without .txt; `lines`: how many can be drawn; `first`: some of them."""

    name: str
    lines: int
    first: tuple[str, ...]


class Wildcards:
    """`folder`: text files, one line a value; read each time, so that a changed file counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draw(self, prompt: str, seed: int, count: int = 1) -> tuple[str, ...]:
        """The prompt of each picture, picture i drawn with `seed` + i; one for all where nothing is drawn.

        Raises what `Template.draw` and `lines` raise.
        """
        template = Template(prompt)
        if not template.draws:
            return (prompt,)
        files = cache(self.lines)  # each file is read once
        return tuple(template.draw((seed + index) % (MAX_SEED + 1), files) for index in range(count))

    def names(self) -> list[str]:
        """At most MAX_FILES; a file whose name cannot be written in a prompt is left out."""
        found = []
        for file in sorted(self._folder.rglob("*.txt")):
            name = file.relative_to(self._folder).with_suffix("").as_posix()
            if _is_name(name) and self._inside(file):
                found.append(name)
        return found[:MAX_FILES]

    def list(self) -> list[WildcardFile]:
        """Files that can be drawn from. `first`: three lines."""
        rows = []
        for name in self.names():
            try:
                lines = self.lines(name)
            except (BadRequest, NotFound, TooLarge):
                rows.append(WildcardFile(name, 0, ()))
                continue
            rows.append(WildcardFile(name, len(lines), tuple(line[:200] for line in lines[:3])))
        return rows

    def lines(self, name: str) -> tuple[str, ...]:
        """Without empty ones and those that begin with #.

        Raises BadRequest (`bad_wildcard_name`, `wildcard_empty`, `bad_wildcard`), NotFound
        (`wildcard_not_found`), TooLarge.
        """
        file = self._file(name)
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except OSError:
            raise self._missing(name) from None
        found = _lines(data, name)
        if not found:
            raise _refuse(
                f"The wildcard file {name} has no lines.", "wildcard_empty", "Write one value a line."
            )
        return found

    def put(self, name: str, text: str) -> WildcardFile:
        """Makes or replaces a file. Raises what `lines` raises."""
        file, data = self._file(name), text.encode()
        lines = _lines(data, name)
        if not lines:
            raise _refuse(f"The wildcard file {name} would have no lines.", "wildcard_empty")
        names = self.names()
        if name not in names and len(names) >= MAX_FILES:
            raise _refuse(f"There are {len(names)} wildcard files; {MAX_FILES} fit.", "too_many_wildcards")
        file.parent.mkdir(parents=True, exist_ok=True)
        rough = file.with_name(f".{secrets.token_hex(8)}.tmp")
        rough.write_bytes(data)
        os.replace(rough, file)
        return WildcardFile(name, len(lines), lines[:3])

    def delete(self, name: str) -> None:
        """Raises NotFound."""
        try:
            self._file(name).unlink()
        except OSError:
            raise self._missing(name) from None

    def _file(self, name: str) -> Path:
        if not _is_name(name):
            raise _refuse(
                f"{name[:80]!r} is no wildcard file's name.", "bad_wildcard_name",
                "Letters, digits, - and _, folders with / between them. "
                r"For the text itself write \__name__.",
            )  # fmt: skip
        file = self._folder / f"{name}.txt"
        if not self._inside(file):
            raise self._missing(name)
        return file

    def _inside(self, file: Path) -> bool:
        """A link must not lead out of the folder."""
        return file.resolve().is_relative_to(self._folder.resolve())

    def _missing(self, name: str) -> NotFound:
        return NotFound(
            f"No wildcard file {name[:80]!r}.",
            hint=rf"{nearest_names(name, self.names())} For the text itself write \__{name[:80]}__.",
            field="prompt", code="wildcard_not_found",
        )  # fmt: skip


def _is_name(name: str) -> bool:
    parts = name.split("/")
    whole = len(name) <= MAX_NAME and len(parts) <= MAX_PARTS and "__" not in name
    return whole and all(PART.fullmatch(part) for part in parts)


def _lines(data: bytes, name: str) -> tuple[str, ...]:
    if len(data) > MAX_BYTES:
        raise TooLarge(
            f"The wildcard file {name[:80]} has more than {MAX_BYTES // 2**10} KiB.",
            hint="Split it.", field="prompt", code="wildcard_too_large",
        )  # fmt: skip
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        said = f"The wildcard file {name[:80]} is not UTF-8 at byte {error.start}."
        raise _refuse(said, "bad_wildcard", "Save it as UTF-8.") from None
    lines = tuple(line.strip() for line in text.splitlines())
    found = tuple(line for line in lines if line and not line.startswith("#"))
    if len(found) > MAX_LINES:
        raise _refuse(
            f"{name[:80]} has {len(found)} lines; {MAX_LINES} fit.", "wildcard_too_large", "Split it."
        )
    return found


def _refuse(message: str, code: str, hint: str = "Make it simpler.") -> BadRequest:
    return BadRequest(message, hint=hint, field="prompt", code=code)
