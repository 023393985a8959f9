"""What flows through the studio: requests in, events out. Every limit and every default lives here.

`GenerationRequest` is what a person or a program asked; fields left out are None. `ResolvedRequest` is the
same after preset, model and seed were filled in: it says everything that affects the picture, and it is what
a job keeps.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from studio.errors import BadRequest, InvalidJson

MAX_PROMPT = 10_000  # characters
MAX_SEED = 2**32 - 1
MAX_COUNT = 64  # pictures of one job
GUIDANCE_ADVICE = (7.0, 15.0)
GUIDANCE_WARNING = 20.0  # above it colours burn

ControlType = Literal["canny"]
Format = Literal["png", "jpeg", "webp"]
SCENE, PLAIN, TRANSPARENT = "scene", "plain", "transparent"  # backgrounds, beside a colour's #RRGGBB
HEX = re.compile(r"#[0-9a-f]{6}")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoraRef(Frozen):
    """One style of a stack. `weight` multiplies the adapter's own alpha/rank; 0 is off, below 0 inverts."""

    name: str = Field(min_length=1, max_length=200)
    weight: float = Field(1.0, ge=-4, le=4, strict=True, allow_inf_nan=False)


class Control(Frozen):
    """A picture that guides the composition.

    `image`: id of an upload or of a library picture, never pixels. `low`, `high`: Canny thresholds in 8-bit
    gradient units. `scale`: strength of the residuals. `start`, `end`: share of the steps in which it acts.
    """

    type: ControlType = "canny"
    image: str = Field(min_length=1, max_length=64)
    low: int = Field(100, ge=1, le=255, strict=True)
    high: int = Field(200, ge=1, le=255, strict=True)
    scale: float = Field(1.0, ge=0, le=2, strict=True, allow_inf_nan=False)
    start: float = Field(0.0, ge=0, le=1, strict=True, allow_inf_nan=False)
    end: float = Field(1.0, ge=0, le=1, strict=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Control:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.start >= self.end:
            raise ValueError(f"start ({self.start}) must be below end ({self.end})")
        return self


class Refiner(Frozen):
    """A second model for the last steps (SDXL's refiner). `at`: share of the steps after which it goes on."""

    model: str = Field(min_length=1, max_length=200)
    at: float = Field(0.8, ge=0.1, le=0.99, strict=True, allow_inf_nan=False)


class Product(Frozen):
    """A product whose own pixels stand in the finished picture.

    `image`: id of an upload or of a library picture, with transparency or on a plain ground. `x` of its
    middle and `y` of its base: shares of the picture from the left and from the top. `width`: share of the
    picture's; never more than its own pixels. `edge`: px over which its rim fades into the scene. `shadow`:
    share of the light that it takes from the ground under it, 0 = none. `edges`: its outline guides the
    scene, as a canny control.
    """

    image: str = Field(min_length=1, max_length=64)
    x: float = Field(0.5, ge=0, le=1, strict=True, allow_inf_nan=False)
    y: float = Field(0.8, ge=0.05, le=1, strict=True, allow_inf_nan=False)
    width: float = Field(0.5, ge=0.05, le=1, strict=True, allow_inf_nan=False)
    edge: float = Field(1.0, ge=0, le=32, strict=True, allow_inf_nan=False)
    shadow: float = Field(0.5, ge=0, le=1, strict=True, allow_inf_nan=False)
    edges: bool = Field(False, strict=True)


class _Asked(Frozen):
    """Fields that mean the same before and after resolving.

    `background`: "scene" is what the model draws. "plain" cuts the subject out and puts it on the brand's
    lightest colour, "#F4F1EA" on that one, "transparent" on none. With a product it is the product alone.
    """

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    preset: str | None = Field(None, max_length=80)
    count: int = Field(1, ge=1, le=MAX_COUNT, strict=True)
    loras: tuple[LoraRef, ...] = Field((), max_length=16)
    control: Control | None = None
    refiner: Refiner | None = None
    init_image: str | None = Field(None, min_length=1, max_length=64)
    mask: str | None = Field(None, min_length=1, max_length=64)
    strength: float = Field(0.75, gt=0, le=1, strict=True, allow_inf_nan=False)  # denoising strength
    upscale: float = Field(1.0, ge=1, le=4, strict=True, allow_inf_nan=False)  # after decoding
    format: Format = "png"
    # Left out where they say nothing: marks and cache keys of pictures from before they were there hold.
    product: Product | None = Field(None, exclude_if=lambda product: product is None)
    background: str = Field(SCENE, max_length=20, exclude_if=lambda said: said == SCENE)
    # The last steps without guidance: a fifth of the time less, and another picture (docs/speed.md).
    draft: bool = Field(False, strict=True, exclude_if=lambda said: not said)

    @field_validator("background")
    @classmethod
    def _ground(cls, said: str) -> str:
        word = said.strip().lower()
        if word in (SCENE, PLAIN, TRANSPARENT):
            return word
        if HEX.fullmatch(word):
            return word.upper()
        raise ValueError(f"{said!r} is none of scene, plain, transparent and a colour such as #F4F1EA")

    @model_validator(mode="after")
    def _outline_is_the_control(self) -> _Asked:
        product, control = self.product, self.control
        if product is not None and product.edges and control is not None and control.image != product.image:
            raise ValueError("control and product.edges do not go together: leave one out")
        return self

    @model_validator(mode="after")
    def _mask_needs_picture(self) -> _Asked:
        if self.mask is not None and self.init_image is None:
            raise ValueError("mask needs init_image: the picture that is painted over")
        if self.mask is not None and self.refiner is not None:
            raise ValueError("mask and refiner do not go together: leave one out")
        return self


def _size() -> Any:
    return Field(None, ge=64, le=2048, multiple_of=8, strict=True)


class GenerationRequest(_Asked):
    """What was asked. None = left to the preset, else to the model. Sizes in px. `seed` -1 or None: drawn.

    Of handling and not of the picture: `priority` among the jobs of the same user, higher first; `force`:
    make it even where the library has it.
    """

    model: str | None = Field(None, min_length=1, max_length=200)
    negative_prompt: str | None = Field(None, max_length=MAX_PROMPT)
    width: int | None = _size()
    height: int | None = _size()
    steps: int | None = Field(None, ge=1, le=150, strict=True)
    guidance: float | None = Field(None, ge=0, le=30, strict=True, allow_inf_nan=False)
    scheduler: str | None = Field(None, max_length=80)
    seed: int | None = Field(None, ge=-1, le=MAX_SEED, strict=True)
    priority: int = Field(0, ge=-100, le=100, strict=True)
    force: bool = Field(False, strict=True)


HANDLING = {"priority", "force"}  # fields that do not reach the picture
DRAWN = {"template", "prompts"}  # fields of a resolved request that no request has


class ResolvedRequest(_Asked):
    """Everything that affects the picture. Picture i of a job uses `seed + i` (mod 2^32).

    `template`: the prompt as it was before wildcards were drawn, None where there were none. `prompts`: one a
    picture, where each drew its own; empty = `prompt` for all. Left out of what is kept where they say
    nothing, so that a picture's mark and a job's cache key stay what they were before there were wildcards.
    """

    model: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    scheduler: str
    seed: int
    template: str | None = Field(None, exclude_if=lambda text: text is None)
    prompts: tuple[str, ...] = Field((), exclude_if=lambda texts: not texts)

    def of_picture(self, index: int) -> ResolvedRequest:
        """With the prompt of picture `index` alone; seed and count stay the job's."""
        if not self.prompts:
            return self
        return self.model_copy(update={"prompt": self.prompts[index], "prompts": ()})


M = TypeVar("M", bound=BaseModel)


def parse(kind: type[M], data: Any) -> M:
    """`data` (a dict of JSON, form or sheet) as `kind`. Raises BadRequest: the first mistake explained."""
    if not isinstance(data, Mapping):
        raise BadRequest(
            f"An object was expected, not {_name_of(data)}.",
            hint='Send {"prompt": "..."}.',
            code="not_an_object",
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise explain(kind, error) from None


def parse_json(kind: type[M], body: bytes) -> M:
    """As `parse`, from bytes. Raises InvalidJson (with the position), also for a key given twice."""

    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise InvalidJson(f"The key {key!r} is given twice.", field=key, code="duplicate_key")
            seen[key] = value
        return seen

    try:
        data = json.loads(body, object_pairs_hook=no_twins)
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            hint="Send one JSON object.",
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidJson(f"Not UTF-8 at byte {error.start}.", hint="Send JSON as UTF-8.") from None
    except RecursionError:
        raise InvalidJson("Not a request: brackets are nested too deep.") from None
    except ValueError:  # Python refuses whole numbers of more than 4300 digits
        raise InvalidJson("Not a request: a number has more than 4300 digits.") from None
    return parse(kind, data)


def explain(kind: type[BaseModel], error: ValidationError) -> BadRequest:
    """The first mistake of a pydantic error as one sentence with the range and what to do."""
    mistakes = error.errors(include_url=False)
    # A misspelt field comes first: the one that is missing is mostly the same mistake.
    first = next((one for one in mistakes if one["type"] == "extra_forbidden"), mistakes[0])
    loc = first["loc"]
    path = ".".join(str(part) for part in loc)[:200]
    got, rule = first.get("input"), str(first["type"])
    owner = _owner(kind, loc)
    if rule == "extra_forbidden":
        names = list(owner.model_fields)
        close = difflib.get_close_matches(str(loc[-1])[:200], names, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known fields: {', '.join(names)}."
        return BadRequest(f"Unknown field {_shown(path)}.", field=path, hint=hint, code="unknown_field")
    if rule == "missing":
        needed = [name for name, row in owner.model_fields.items() if row.is_required()]
        hint = f"Required: {', '.join(needed)}."
        return BadRequest(f"{path} is required.", field=path, hint=hint, code="missing_field")
    context = first.get("ctx", {})
    if rule == "value_error":
        return BadRequest(f"{path or 'request'}: {context['error']}.", field=path or None)
    if rule.startswith("string_too") or rule == "too_long":
        return BadRequest(f"{path} {_length(got, context)}.", field=path, code="bad_length")
    if rule == "literal_error":
        return BadRequest(f"{path}: {_shown(got)} is not known; use {context['expected']}.", field=path)
    asked = owner.model_fields.get(str(loc[-1]))
    limits = _limits(asked) if asked is not None else {}
    wanted = _range(asked, limits) if asked is not None and "le" in limits else str(first["msg"])
    return BadRequest(f"{path}: {wanted}; got {_shown(got)}.", field=path, hint=_nearest(got, limits))


def _owner(kind: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the last name of `loc` is, or was meant to be, a field of."""
    nested: dict[str, type[BaseModel]] = {
        "loras": LoraRef, "control": Control, "refiner": Refiner, "product": Product,
    }  # fmt: skip
    return nested.get(str(loc[0]), kind) if len(loc) > 1 else kind


def _length(got: Any, context: Mapping[str, Any]) -> str:
    one, many = ("character", "characters") if isinstance(got, str) else ("entry", "entries")
    if "min_length" in context:
        least = context["min_length"]
        return f"is empty; at least {least} {one if least == 1 else many}"
    return f"has {len(got)} {many}; at most {context['max_length']} fit"


def _limits(row: FieldInfo) -> dict[str, Any]:
    return {
        key: getattr(rule, key)
        for rule in row.metadata
        for key in ("ge", "gt", "le", "multiple_of")
        if getattr(rule, key, None) is not None
    }


def _range(row: FieldInfo, limits: Mapping[str, Any]) -> str:
    types = get_args(row.annotation) or (row.annotation,)
    word = "a number" if float in types else "a whole number"
    if "multiple_of" in limits:
        word = f"a multiple of {limits['multiple_of']}"
    if limits.get("ge") == -1:
        return f"{word} from 0 to {limits['le']}, or -1 to draw one"
    if "gt" in limits:
        return f"{word} above {limits['gt']}, up to {limits['le']}"
    return f"{word} from {limits['ge']} to {limits['le']}"


def _nearest(got: Any, limits: Mapping[str, Any]) -> str:
    if "multiple_of" not in limits or type(got) is not int:
        return ""
    unit = limits["multiple_of"]
    below = min(max(got // unit * unit, limits["ge"]), limits["le"])
    above = min(max(-(-got // unit) * unit, limits["ge"]), limits["le"])
    return f"Nearest: {below} or {above}." if below != above else f"Nearest: {below}."


def _shown(got: Any) -> str:
    if isinstance(got, (Mapping, list, tuple)):  # may be huge or nested a thousand deep
        return _name_of(got)
    text = repr(got)
    return text if len(text) <= 60 else text[:57] + "..."


def _name_of(data: Any) -> str:
    words = {list: "a list", dict: "an object", str: "a text", type(None): "null"}
    return words.get(type(data), type(data).__name__)


# --- events: executor -> jobs -> doors ---------------------------------------------------------------


@dataclass(frozen=True)
class Queued:
    position: int  # 0 = next


@dataclass(frozen=True)
class Started:
    pass


@dataclass(frozen=True)
class Progress:
    """Step `step` of `of`, over all pictures of the job. `eta`: seconds left, None while unknown."""

    step: int
    of: int
    eta: float | None


@dataclass(frozen=True)
class Preview:
    """A rough picture of what is coming. `data`: a JPEG of the latents in RGB, some px wide."""

    index: int
    data: bytes


@dataclass(frozen=True)
class Rendered:
    """A finished picture as the executor hands it over. `data`: PNG, no metadata. `seconds`: its own work."""

    index: int
    seed: int
    width: int
    height: int
    data: bytes
    seconds: float
    notes: tuple[str, ...] = ()  # what the engine had to do: "tiled_decode", "float32_decode"
    rows: tuple[int, ...] = ()  # fewest and most UNet rows of its steps, where the executor knows
    checks: tuple[Mapping[str, Any], ...] = ()  # what was looked for in it, what was found and done


@dataclass(frozen=True)
class Picture:
    """A finished picture after the library took it: what doors see instead of `Rendered`."""

    id: str
    index: int
    seed: int
    width: int
    height: int
    seconds: float


@dataclass(frozen=True)
class Learned(Progress):
    """A training step, with the mean loss of its rows."""

    loss: float = 0.0


@dataclass(frozen=True)
class Epoch:
    """An epoch of training ended, and its checkpoint is on disk.

    `loss`: mean of its steps; `held_out`: on pictures kept back. `style`: 0 to 1, how near the look of the
    board is to the set's. `best`: the epoch that would be taken now.
    """

    number: int
    of: int
    loss: float
    held_out: float | None
    style: float | None
    best: int


@dataclass(frozen=True)
class Trained:
    """The finished LoRA is among the studio's: `name` to ask for it by, `epoch` it was taken from."""

    name: str
    run: str
    epoch: int
    bytes: int


@dataclass(frozen=True)
class Done:
    seconds: float


@dataclass(frozen=True)
class Failed:
    error: Mapping[str, Any]  # StudioError.as_dict()


@dataclass(frozen=True)
class Cancelled:
    pass


Event = (
    Queued | Started | Progress | Preview | Rendered | Picture | Epoch | Trained | Done | Failed | Cancelled
)
FINAL: tuple[type, ...] = (Done, Failed, Cancelled)


# --- what doors show ---------------------------------------------------------------------------------

State = Literal["queued", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class WorkerStatus:
    """What the process that holds the models says of itself. Sizes in bytes.

    `resident`: (model, bytes) of those in memory. `memory`: of the device, or the process's RSS on a CPU.
    `rows_per_tick`: mean UNet rows of the last steps. `backend`: this machine's; `backends`: what the next
    picture of each resident model is made with; `measured`: seconds of a step with each row tried.
    `process`: of `memory`, what is not models and runs. `paces`: "MODEL WxH" -> seconds of a UNet call and
    its share of decoding, for one picture, as last seen.
    """

    ready: bool
    device: str = ""
    dtype: str = ""
    resident: tuple[tuple[str, int], ...] = ()
    memory: int = 0
    adapters: tuple[str, ...] = ()
    rows_per_tick: float = 0.0
    backend: str = ""
    backends: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    process: int = 0
    paces: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRow:
    """A picture of the library. `file`: for reading it, never for showing. `created`: UTC, s since 1970."""

    id: str
    job: str
    index: int
    seed: int
    width: int
    height: int
    format: Format
    file: Path = field(repr=False)
    created: float
    seconds: float
    request: ResolvedRequest
    trashed: bool = False
    notes: tuple[str, ...] = ()
    user: str = "local"
    star: bool = False
    event: int = 0  # number of the event that told of it, 0 where that was not kept


@dataclass(frozen=True)
class JobView:
    """A job as it stands. `progress` 0 to 1. `error`: StudioError.as_dict(). `seconds`: 0 until it ended.

    `cached`: answered with the pictures of an earlier job. `held`: waits until it is let go. `position`: in
    the queue, 0 = next, None when not waiting. `eta`: seconds left, None while unknown. `created`,
    `started`, `ended`: UTC, s since 1970.
    """

    id: str
    state: State
    progress: float
    request: ResolvedRequest
    images: tuple[ImageRow, ...]
    error: Mapping[str, Any] | None
    created: float
    seconds: float
    user: str = "local"
    priority: int = 0
    held: bool = False
    cached: bool = False
    position: int | None = None
    eta: float | None = None
    attempts: int = 0
    started: float | None = None
    ended: float | None = None

    @property
    def final(self) -> bool:
        return self.state in ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class StudioStatus:
    """`images`: in the library, `trashed` ones apart. `ended`: all jobs so far, by how they ended."""

    worker: WorkerStatus
    queued: int
    running: int
    images: int
    trashed: int
    versions: Mapping[str, str]
    ended: Mapping[State, int] = field(default_factory=dict)


def nearest_names(name: str, known: Iterable[str]) -> str:
    """'Did you mean euler, heun?' for a name that is not known; lists the first ones where none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {', '.join(close)}?" if close else f"Known: {', '.join(names[:20]) or 'none yet'}."
