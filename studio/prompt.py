"""The prompt language designers know from other tools, read in linear time.

`(x)` x1.1, `[x]` /1.1, `(x:1.3)` x1.3, nested ones multiply; a backslash makes a bracket plain; an unclosed
bracket runs to the end. `BREAK` starts a new chunk, `#` a comment (but `#C8102E` is a colour),
`<lora:NAME:WEIGHT>` names a style, any other `<kind:...>` is dropped.
Source: modules/prompt_parser.py and modules/extra_networks.py of AUTOMATIC1111/stable-diffusion-webui.
"""

from __future__ import annotations

import math
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from studio.errors import BadRequest

STEP = 1.1  # what one pair of brackets is worth
MAX_LENGTH = 20_000  # characters: twice what a request may hold, for prompts that a preset framed
MAX_DEPTH = 32  # brackets: 1.1^32 = 21, far beyond what a picture bears
MAX_WEIGHT = 100.0

# Possessive everywhere (`*+`, `++`): nothing is ever tried twice, so time grows with the length only.
# A tag is short because what follows a `<a:` without an end is looked through once for each `<`.
_NUMBER = r"[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:e[+-]?+\d++)?+|[+-]?+(?:nan|inf(?:inity)?+)"
_ASIDE = re.compile(
    r"""
      (?P<comment>\#(?![0-9a-f]{6}\b)[^\n]*+)
    | <(?P<kind>\w++):(?P<arguments>[^>\n]{0,300}+)>
    | (?P<text>\\[\\\#<]|[^\\<\#]++|.)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TOKEN = re.compile(
    rf"""
      \\(?P<escaped>[()\[\]\\\#<>{{}}|_])
    | :\s*+(?P<weight>{_NUMBER})\s*+\)
    | (?P<bracket>[()\[\]])
    | (?P<text>[^\\()\[\]:]++|.)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True)
class Span:
    """Text of one weight. `weight` 1 is plain."""

    text: str
    weight: float


@dataclass(frozen=True)
class LoraTag:
    """`<lora:NAME:te:unet>`. `te`: weight for the text encoders, `unet`: for the picture network."""

    name: str
    te: float
    unet: float


@dataclass(frozen=True)
class Prompt:
    """`sections`: split at BREAK, each at least one span. `text`: as typed, without tags and comments."""

    sections: tuple[tuple[Span, ...], ...]
    loras: tuple[LoraTag, ...]
    text: str


@dataclass
class _Piece:
    column: int
    text: str = ""
    opens: int = -1  # number of the bracket that begins here
    closes: int = -1  # number of the bracket that ends here


def parse(text: str, field: str = "prompt") -> Prompt:
    """Raises BadRequest, with the column, for brackets too deep and weights that are no usable number.

    A text without any markup comes back as one section with one span: itself. `field`: what a refusal names.
    """
    try:
        return _parse(text)
    except BadRequest as error:
        error.field = field
        raise


def _parse(text: str) -> Prompt:
    if len(text) > MAX_LENGTH:
        raise BadRequest(
            f"The prompt has {len(text)} characters; {MAX_LENGTH} fit.", hint="Shorten it.", code="bad_length"
        )
    clean, loras, origins = _strip(text)
    pieces, factors = _scan(clean, origins)
    return Prompt(_sections(pieces, factors), tuple(loras), clean)


def _strip(text: str) -> tuple[str, list[LoraTag], list[tuple[int, int]]]:
    """The text without tags and comments, the lora tags, and (place in it, place in `text`) of its parts.

    A space stands in for a tag between two words, so that what remains never grows together into new markup.
    """
    kept: list[str] = []
    loras: list[LoraTag] = []
    origins: list[tuple[int, int]] = []
    length = 0
    for match in _ASIDE.finditer(text):
        part = match["text"] or ""
        if match["kind"] is not None:
            if match["kind"].lower() == "lora":
                loras.append(_lora(match["arguments"], match.start() + 1))
            part = "" if not kept or kept[-1][-1].isspace() else " "
        if part:
            origins.append((length, match.start()))
            kept.append(part)
            length += len(part)
    return "".join(kept), loras, origins


def _scan(text: str, origins: list[tuple[int, int]]) -> tuple[list[_Piece], list[float]]:
    """The text as pieces, and the factor of each bracket by its number."""
    pieces: list[_Piece] = []
    factors: list[float] = []
    stacks: dict[str, list[int]] = {"(": [], "[": []}
    for match in _TOKEN.finditer(text):
        column, typed, group = _column(match.start(), origins), match.group(), match.lastgroup
        if typed in stacks:
            if sum(map(len, stacks.values())) == MAX_DEPTH:
                raise _refuse(f"Brackets nest deeper than {MAX_DEPTH} at column {column}.", "Remove some.")
            pieces.append(_Piece(column, opens=len(factors)))
            stacks[typed].append(len(factors))
            factors.append(STEP if typed == "(" else 1 / STEP)  # also if it never closes: it runs to the end
        elif group in ("bracket", "weight") and stacks[opener := "[" if typed == "]" else "("]:
            number = stacks[opener].pop()
            if group == "weight":
                factors[number] = _bounded(float(match["weight"]), column)
            pieces.append(_Piece(column, closes=number))
        else:
            pieces.append(_Piece(column, text=match["escaped"] if group == "escaped" else typed))
    return pieces, factors


def _column(place: int, origins: list[tuple[int, int]]) -> int:
    """Of what was typed, from 1, for a place in the stripped text."""
    stripped, typed = origins[bisect_right(origins, (place, sys.maxsize)) - 1]
    return typed + place - stripped + 1


def _sections(pieces: list[_Piece], factors: list[float]) -> tuple[tuple[Span, ...], ...]:
    sections: list[list[Span]] = [[]]
    for text, weight in _weighted(pieces, factors):
        first, *others = _BREAK.split(text)
        _extend(sections[-1], first.rstrip() if others else first, weight)
        for index, part in enumerate(others):
            sections.append([])
            _extend(sections[-1], part.strip() if index < len(others) - 1 else part.lstrip(), weight)
    return tuple(tuple(section) or (Span("", 1.0),) for section in sections)


def _extend(section: list[Span], text: str, weight: float) -> None:
    if text:
        section.append(Span(text, weight))


def _weighted(pieces: list[_Piece], factors: list[float]) -> Iterator[tuple[str, float]]:
    """Neighbours of one weight come as one text."""
    active: dict[int, float] = {}
    parts: list[str] = []
    weight = 1.0
    for piece in pieces:
        if piece.text:
            now = _bounded(math.prod(active.values(), start=1.0), piece.column)
            if now != weight and parts:
                yield "".join(parts), weight
                parts = []
            weight = now
            parts.append(piece.text)
        elif piece.opens >= 0:
            active[piece.opens] = factors[piece.opens]
        else:
            del active[piece.closes]
    if parts:
        yield "".join(parts), weight


def _lora(arguments: str, column: int) -> LoraTag:
    named: dict[str, str] = {}
    positional: list[str] = []
    for argument in arguments.split(":"):
        key, equals, value = argument.partition("=")
        if equals and positional:
            named[key.strip()] = value
        else:
            positional.append(argument)
    name, *weights = positional
    te = named.get("te", weights[0] if weights else "1")
    unet = named.get("unet", weights[1] if len(weights) > 1 else te)
    if not name.strip():
        raise _refuse(f"A lora tag without a name at column {column}.", "Write <lora:NAME:0.8>.")
    return LoraTag(name.strip(), _tag_number(te, column), _tag_number(unet, column))


def _tag_number(text: str, column: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _refuse(
            f"LoRA weight {text.strip()[:40]!r} at column {column} is not a number from -4 to 4.",
            "Write <lora:NAME:0.8>.",
        )
    return value


def _bounded(value: float, column: int) -> float:
    if not abs(value) <= MAX_WEIGHT:
        raise _refuse(
            f"Emphasis {value:g} at column {column} is not a number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}.",
            "Weights from 0.5 to 1.5 work best.",
        )
    return value


def _refuse(message: str, hint: str) -> BadRequest:
    return BadRequest(message, hint=hint, code="bad_prompt")
