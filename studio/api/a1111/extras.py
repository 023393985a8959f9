"""png-info, upscaling outside a job, and ControlNet's preview of edges."""

from __future__ import annotations

import io
from html import escape
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends
from PIL import Image

from studio import edges, infotext
from studio.api import pictures
from studio.api.a1111.control import check_module, in_range, thresholds
from studio.api.a1111.shapes import Detect, ExtraBatch, Extras, ExtraSingle, PngInfo
from studio.api.foreign import body_of, described
from studio.catalog import UPSCALERS
from studio.errors import BadRequest
from studio.schema import nearest_names
from studio.studio import Studio

METHODS = {"None": Image.Resampling.NEAREST, "Nearest": Image.Resampling.NEAREST}
METHODS |= dict.fromkeys(UPSCALERS.values(), Image.Resampling.LANCZOS)
MAX_FACTOR = 8
MAX_BATCH = 64


def add_extras(router: APIRouter, studio: Studio) -> None:
    @router.post("/png-info", openapi_extra=described(PngInfo), summary="Settings inside a picture file")
    def png_info(wish: Annotated[PngInfo, Depends(body_of(PngInfo))]) -> dict[str, Any]:
        data = pictures.decoded(wish.image, "image")
        studio.cleaned(data)  # refuses what is no picture
        texts = infotext.texts_of(data)
        info = texts.get(infotext.PARAMETERS, "")
        return {"info": info, "items": texts, "parameters": infotext.fields_of(info) if info else {}}

    @router.post(
        "/extra-single-image",
        openapi_extra=described(ExtraSingle),
        summary="Enlarge a picture, outside any job",
    )
    def single(wish: Annotated[ExtraSingle, Depends(body_of(ExtraSingle))]) -> dict[str, Any]:
        image, info = enlarged(studio, pictures.decoded(wish.image, "image"), wish)
        return {"image": image, "html_info": info}

    @router.post(
        "/extra-batch-images",
        openapi_extra=described(ExtraBatch),
        summary="Enlarge pictures, outside any job",
    )
    def batch(wish: Annotated[ExtraBatch, Depends(body_of(ExtraBatch))]) -> dict[str, Any]:
        if len(wish.imageList) > MAX_BATCH:
            raise BadRequest(f"{len(wish.imageList)} pictures; at most {MAX_BATCH}.", field="imageList")
        files = [pictures.decoded(row.data, "imageList") for row in wish.imageList]
        done = [enlarged(studio, data, wish) for data in files]
        return {"images": [image for image, _ in done], "html_info": " ".join(info for _, info in done)}


def enlarged(studio: Studio, data: bytes, wish: Extras) -> tuple[str, str]:
    """(base64 PNG, a line of HTML). Raises BadRequest for a method that is not here, and for too many px."""
    method = wish.upscaler_1 or "None"
    if method not in METHODS:
        raise BadRequest(
            f"No upscaler {method[:80]!r}.", hint=nearest_names(method[:80], METHODS), field="upscaler_1",
            code="upscaler_not_found",
        )  # fmt: skip
    picture = pictures.opened(studio.cleaned(data))
    width, height = size_of(picture.size, wish)
    if not 1 <= width * height <= studio.settings.upload_pixels or max(width, height) > 2**14:
        raise BadRequest(
            f"{width}x{height} px is {width * height / 1e6:.1f} Mpx; at most "
            f"{studio.settings.upload_pixels / 1e6:.0f} Mpx.",
            field="upscaling_resize", code="too_many_pixels",
        )  # fmt: skip
    if wish.resize_mode == 1 and wish.upscaling_crop is not False:
        large = pictures.fitted(picture, width, height, 1)
    else:
        large = picture.resize((width, height), METHODS[method])
    return pictures.encoded(pictures.packed(large).data), f"<p>{escape(method)}: {width}x{height}</p>"


def size_of(size: tuple[int, int], wish: Extras) -> tuple[int, int]:
    if wish.resize_mode == 1:
        width, height = wish.upscaling_resize_w or 512, wish.upscaling_resize_h or 512
        if wish.upscaling_crop is not False:
            return width, height
        scale = min(width / size[0], height / size[1])
    else:
        scale = 2.0 if wish.upscaling_resize is None else wish.upscaling_resize
        if not 0 < scale <= MAX_FACTOR:
            raise BadRequest(f"upscaling_resize: above 0, up to {MAX_FACTOR}.", field="upscaling_resize")
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def add_detect(router: APIRouter, studio: Studio) -> None:
    @router.post("/detect", openapi_extra=described(Detect), summary="What ControlNet sees in a picture")
    def detect(wish: Annotated[Detect, Depends(body_of(Detect))]) -> dict[str, Any]:
        check_module(wish.controlnet_module or "canny")
        given = wish.controlnet_input_images or wish.controlnet_images or []
        if not given or len(given) > MAX_BATCH:
            raise BadRequest(f"1 to {MAX_BATCH} pictures.", field="controlnet_input_images")
        low, high = thresholds(wish.controlnet_threshold_a, wish.controlnet_threshold_b)
        side = round(in_range(wish.controlnet_processor_res, 64, 2048, 512))
        files = [pictures.decoded(text, "controlnet_input_images") for text in given]
        maps = [edge_map(studio, data, side, low, high) for data in files]
        return {"images": [pictures.encoded(data) for data in maps], "info": "Success"}


def edge_map(studio: Studio, data: bytes, side: int, low: int, high: int) -> bytes:
    """PNG of the edges, the shorter side `side` px."""
    picture = pictures.opened(pictures.opaque(studio.cleaned(data))).convert("RGB")
    scale = side / min(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    if max(size) > 2**13:
        raise BadRequest("The picture is too narrow for this resolution.", field="controlnet_processor_res")
    found = edges.canny(edges.cover(np.asarray(picture), *size), low, high)
    out = io.BytesIO()
    Image.fromarray(found).save(out, "PNG", compress_level=1)
    return out.getvalue()
