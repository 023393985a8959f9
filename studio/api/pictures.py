"""Pictures inside foreign requests: base64 in, pictures of the size that is wanted, base64 out."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import replace

from PIL import Image, ImageFilter

from studio import uploads
from studio.errors import BadRequest
from studio.uploads import Upload

LANCZOS = Image.Resampling.LANCZOS
MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")  # by their number in other tools


def decoded(text: str, field: str) -> bytes:
    """Bytes of bare base64 or of a data URL. Raises BadRequest; addresses are never fetched."""
    if text[:8].lower().startswith(("http:", "https:", "file:", "ftp:")):
        raise BadRequest(
            f"{field}: pictures are not fetched from addresses.",
            hint="Send the picture itself as base64.", field=field, code="url_not_fetched",
        )  # fmt: skip
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{field} is not base64.", field=field, code="unsupported_image") from None


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(picture: Upload) -> Image.Image:
    return Image.open(io.BytesIO(picture.data))


def packed(picture: Image.Image) -> Upload:
    """As PNG; pixels alone."""
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return Upload(out.getvalue(), "png", picture.width, picture.height)


def opaque(picture: Upload) -> Upload:
    """Transparent parts laid on white."""
    data = uploads.flat(picture.data)
    return picture if data is picture.data else replace(picture, data=data, format="png")


def fitted(picture: Image.Image, width: int, height: int, mode: int) -> Image.Image:
    """`picture` as `width` x `height` px. `mode`: 0 stretched, 1 cropped, 2 whole, its border drawn out."""
    if picture.size == (width, height):
        return picture
    if mode == 0:
        return picture.resize((width, height), LANCZOS)
    scales = width / picture.width, height / picture.height
    scale = max(scales) if mode == 1 else min(scales)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    scaled = picture.resize(size, LANCZOS)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    if mode == 1:
        return scaled.crop((-left, -top, width - left, height - top))
    return _bordered(scaled, width, height, left, top)


def _bordered(picture: Image.Image, width: int, height: int, left: int, top: int) -> Image.Image:
    """`picture` at (left, top) of a larger one, its outermost pixels drawn out to the edges."""
    across = Image.new(picture.mode, (width, picture.height))
    right = width - left - picture.width
    if left > 0:
        across.paste(picture.crop((0, 0, 1, picture.height)).resize((left, picture.height)), (0, 0))
    if right > 0:
        edge = picture.crop((picture.width - 1, 0, picture.width, picture.height))
        across.paste(edge.resize((right, picture.height)), (width - right, 0))
    across.paste(picture, (left, 0))
    whole = Image.new(picture.mode, (width, height))
    below = height - top - picture.height
    if top > 0:
        whole.paste(across.crop((0, 0, width, 1)).resize((width, top)), (0, 0))
    if below > 0:
        last = across.crop((0, picture.height - 1, width, picture.height))
        whole.paste(last.resize((width, below)), (0, height - below))
    whole.paste(across, (0, top))
    return whole


def grey_mask(picture: Image.Image, invert: bool = False, blur: float = 0) -> Image.Image:
    """White where it is painted over: the alpha channel of a mask that has one, else its brightness."""
    mask = picture.convert("L")
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        mask = alpha if alpha.getextrema() != (255, 255) else mask
    if invert:
        mask = mask.point([255 - tone for tone in range(256)])
    return mask.filter(ImageFilter.GaussianBlur(blur)) if blur > 0 else mask


def filled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """`picture` with what `mask` selects replaced by the colours around it."""
    kept = mask.point([255 if tone < 128 else 0 for tone in range(256)])
    layers = Image.new("RGBA", picture.size)
    ground = picture.convert("RGBA")
    ground.putalpha(kept)
    # Premultiplied ("RGBa"), so that what is masked brings no colour of its own into the blur.
    for radius in (256, 64, 16, 4):
        layers.alpha_composite(
            ground.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        )
    layers.alpha_composite(ground)
    plain = Image.new("RGBA", picture.size, picture.convert("RGB").resize((1, 1)).getpixel((0, 0)))
    plain.alpha_composite(layers)
    return plain.convert("RGB")
