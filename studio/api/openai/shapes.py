"""What OpenAI's clients send and get. Besides their fields, the studio's own may come as `extra_body`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST = 10  # pictures of one request
MOST_PARTIAL = 3

Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]


class Generate(BaseModel):
    """Body of /v1/images/generations. The fields below `user` are the studio's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prompt: str = Field(min_length=1)
    model: str | None = Field(None, max_length=200, description="Of /v1/models; OpenAI's names: the default.")
    n: int | None = Field(None, ge=1, le=MOST, strict=True)
    size: str | None = Field(None, max_length=20, description="WIDTHxHEIGHT in px, or auto.")
    quality: Quality | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, strict=True, description="Of JPEG and WebP.")
    background: Literal["transparent", "opaque", "auto"] | None = None
    style: Literal["vivid", "natural"] | None = None
    moderation: Literal["low", "auto"] | None = None
    stream: bool | None = Field(None, strict=True)
    partial_images: int | None = Field(None, ge=0, le=MOST_PARTIAL, strict=True)
    user: str | None = None
    safety_identifier: str | None = None
    preset: str | None = None
    negative_prompt: str | None = None
    steps: int | None = Field(None, strict=True)
    guidance: float | None = Field(None, strict=True)
    scheduler: str | None = None
    seed: int | None = Field(None, strict=True)
    loras: list[dict[str, Any]] | None = None


class Edit(Generate):
    """Fields of the form of /v1/images/edits, apart from its pictures."""

    input_fidelity: Literal["low", "high"] | None = None
    strength: float | None = Field(None, strict=True)


class Fault(BaseModel):
    message: str
    type: str
    param: str | None
    code: str
    hint: str = Field(description="What to do next.")


class OpenAIRefusal(BaseModel):
    error: Fault


class Datum(BaseModel):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Usage(BaseModel):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: dict[str, int]


class Pictures(BaseModel):
    created: int
    data: list[Datum]
    size: str
    quality: str
    output_format: str
    background: str
    usage: Usage


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "brand-studio"


class ModelCards(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
