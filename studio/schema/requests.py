"""What is asked for. Every limit and every default lives here.

`GenerationRequest` is what a person or a program asked; fields left out are None. `ResolvedRequest` is the
same after preset, model and seed were filled in: it says everything that affects the picture, and it is what
a job keeps.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
