"""What the API answers, as shapes that OpenAPI shows. A file's place on the disk is never among them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from studio import schema
from studio.presets import Preset
from studio.schema import GenerationRequest, ImageRow, JobView, ResolvedRequest

PREFIX = "/api/v1"


class Fault(BaseModel):
    code: str = Field(description="Stable word for programs.")
    message: str
    field: str | None = Field(description="Request field at fault, dotted.")
    hint: str = Field(description="What to do next.")


class Refusal(BaseModel):
    error: Fault


class Accepted(BaseModel):
    id: str
    state: schema.State


class ImageView(BaseModel):
    """`created`: UTC, seconds since 1970. `seconds`: work on this picture. `url`: its file on this server."""

    id: str
    job: str
    index: int
    seed: int
    width: int
    height: int
    format: schema.Format
    url: str
    created: float
    seconds: float
    notes: tuple[str, ...]
    trashed: bool
    star: bool


class ImageDetail(ImageView):
    """`checks`: what was looked for in the picture, what was found where, and what was done about it."""

    request: ResolvedRequest
    checks: list[dict[str, Any]] = []


class JobDetail(BaseModel):
    """`request`: everything that affects the picture, after preset, model and seed were filled in."""

    id: str
    state: schema.State
    progress: float = Field(ge=0, le=1)
    images: list[ImageView]
    error: Fault | None
    request: ResolvedRequest
    created: float
    seconds: float
    priority: int
    held: bool = Field(description="Waits until it is let go.")
    cached: bool = Field(description="Answered with the pictures of an earlier job.")
    position: int | None = Field(description="In the queue, 0 = next; null when it does not wait.")
    eta: float | None = Field(description="Seconds left, as far as is known.")
    attempts: int
    started: float | None
    ended: float | None


class Uploaded(BaseModel):
    id: str


class Generated(BaseModel):
    """Answer of POST /generate. `image`, `images`: base64 of whole files, in the order of the seeds."""

    image: str
    images: list[str]
    seed: int
    format: schema.Format
    width: int
    height: int
    seconds: float
    id: str = Field(description="The job; its pictures are in the library too.")


class ModelView(BaseModel):
    name: str
    label: str
    family: str
    size: int = Field(description="Native width and height in px.")
    steps: int
    guidance: float
    scheduler: str
    controls: tuple[str, ...]
    bytes: int
    builtin: bool
    default: bool


class SchedulerView(BaseModel):
    name: str
    label: str
    steps: tuple[int, int] = Field(description="Advised number of steps, low to high.")
    advice: dict[Literal["en", "zh"], str]


class LoraView(BaseModel):
    name: str
    title: str
    base: str = Field(description="Model family it was made for; empty where the file does not tell.")
    rank: int
    alpha: float
    trigger: str
    bytes: int
    problem: str = Field(description="Why it cannot be used; empty when it can.")


class PresetView(BaseModel):
    name: str
    title: dict[str, str]
    description: dict[str, str]
    palette: dict[str, str]
    roles: dict[str, str] = Field(description="What a colour is for, by its name in `palette`.")
    fonts: dict[str, str]
    sizes: dict[str, str] = Field(description="'WxH' in px by channel.")
    samples: tuple[str, ...] = Field(description="Each at /api/v1/kits/samples/{file}.")
    policies: dict[str, str]
    locked: tuple[str, ...]
    sets: dict[str, Any] = Field(description="Request fields the preset fills in.")
    examples: tuple[str, ...]


def image_view(row: ImageRow) -> ImageView:
    return ImageView(**_picture(row))


def image_detail(row: ImageRow, checks: list[dict[str, Any]]) -> ImageDetail:
    return ImageDetail(**_picture(row), request=row.request, checks=checks)


def image_url(id: str) -> str:
    return f"{PREFIX}/images/{id}/file"


def _picture(row: ImageRow) -> dict[str, Any]:
    same = (
        "id",
        "job",
        "index",
        "seed",
        "width",
        "height",
        "format",
        "created",
        "seconds",
        "notes",
        "trashed",
        "star",
    )
    return {name: getattr(row, name) for name in same} | {"url": image_url(row.id)}


def job_view(job: JobView) -> JobDetail:
    return JobDetail(
        id=job.id,
        state=job.state,
        progress=job.progress,
        images=[image_view(row) for row in job.images],
        error=Fault(**job.error) if job.error else None,
        request=job.request,
        created=job.created,
        seconds=job.seconds,
        priority=job.priority,
        held=job.held,
        cached=job.cached,
        position=job.position,
        eta=job.eta,
        attempts=job.attempts,
        started=job.started,
        ended=job.ended,
    )


SETS = ("model", "prompt", "negative_prompt", "scheduler", "steps", "guidance", "width", "height", "loras")


def preset_view(preset: Preset) -> PresetView:
    return PresetView(
        name=preset.name,
        title=dict(preset.title),
        description=dict(preset.description),
        palette=dict(preset.palette),
        roles=dict(preset.roles),
        fonts=dict(preset.fonts),
        sizes={channel: f"{width}x{height}" for channel, (width, height) in preset.sizes.items()},
        samples=preset.samples,
        policies=preset.policies.told(),
        locked=preset.locked,
        sets={name: value for name in SETS if (value := getattr(preset, name)) is not None},
        examples=preset.examples,
    )


def request_body() -> dict[str, Any]:
    """OpenAPI's description of a generation request.

    `schema.parse_json` parses the bodies and tells more about a mistake; so FastAPI cannot know their shape.
    """
    shape = GenerationRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    shape.pop("$defs", None)  # they are among the components already: ResolvedRequest uses them too
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": shape}}}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal} for status in sorted({400, 403, 413, 421, 500, *statuses})}
