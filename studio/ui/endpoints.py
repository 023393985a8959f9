"""What gradio_client can call. The page's own events are private: they change with its fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from studio.errors import StudioError, UnsupportedImage
from studio.schema import GenerationRequest, JobView, parse
from studio.studio import Studio

Fields = dict[str, Any]


def add_endpoints(studio: Studio) -> None:
    """Call it inside the page's Blocks."""

    def generate(
        prompt: str,
        negative_prompt: str | None = None,
        preset: str | None = None,
        model: str | None = None,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        scheduler: str | None = None,
        seed: int | None = None,
        count: int = 1,
        loras: list[dict[str, Any]] | None = None,
        canny_image: dict[str, Any] | None = None,
        low: int | None = None,
        high: int | None = None,
        control_scale: float | None = None,
        init_image: dict[str, Any] | None = None,
        strength: float | None = None,
    ) -> list[dict[str, Any]]:
        """Pictures from words: [{"image", "seed", "id"}]. Pictures to start from go through handle_file."""
        asked: Fields = {
            "prompt": prompt, "negative_prompt": negative_prompt, "preset": preset, "model": model,
            "width": width, "height": height, "steps": steps, "guidance": guidance, "scheduler": scheduler,
            "seed": seed, "count": count, "loras": loras, "strength": strength,
        }  # fmt: skip
        edges = {"low": low, "high": high, "scale": control_scale}
        try:
            if init_image is not None:
                asked["init_image"] = studio.upload(sent(init_image, "init_image"))
            if canny_image is not None:
                id = studio.upload(sent(canny_image, "control.image"))
                asked["control"] = {"type": "canny", "image": id, **given(edges)}
            job = studio.submit(parse(GenerationRequest, given(asked)))
            return pictures(finished(studio.wait(job.id)))
        except StudioError as error:
            raise gr.Error(f"{error.message} {error.hint}".strip(), print_exception=False) from None

    gr.api(generate, api_name="generate", concurrency_limit=None)


def given(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def sent(file: Mapping[str, Any], field: str) -> bytes:
    """What the client uploaded before. Raises UnsupportedImage for any other place on this machine.

    Gradio has judged the place too (blocks.has_launched in page.py), but only where it was marked as a file.
    """
    place = Path(str(file.get("path", ""))[:4096].replace("\0", "")).resolve()
    folder = Path(get_upload_folder()).resolve()
    try:
        if folder in place.parents:
            return place.read_bytes()
    except OSError:
        pass
    raise UnsupportedImage("No such upload.", hint="Send the picture with handle_file(PATH).", field=field)


def finished(job: JobView) -> JobView:
    """Raises StudioError with what it failed of."""
    if job.state != "completed":
        said = job.error or {"message": f"The run is {job.state}.", "hint": "", "code": job.state}
        raise StudioError(said["message"], hint=said["hint"], code=said["code"])
    return job


def pictures(job: JobView) -> list[Fields]:
    """Files that the client fetches by their ids (studio/api/native.py), never by a place on this machine.

    As streams, because Gradio copies any other file into a folder of its own, which everybody may read.
    """
    return [
        {
            "image": {
                "path": f"{row.id}{row.file.suffix}", "is_stream": True, "meta": {"_type": "gradio.FileData"},
            },
            "seed": row.seed,
            "id": row.id,
        }
        for row in job.images
    ]  # fmt: skip
