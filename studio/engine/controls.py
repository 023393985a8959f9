"""Pictures that steer a run: uploaded bytes to the tensors a job's samples share."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from studio.edges import Pixels, canny, cover
from studio.engine.sample import Origin
from studio.engine.weights import ModelBundle
from studio.errors import BadRequest, UnsupportedImage
from studio.schema import Control, ResolvedRequest


def pixels(data: bytes, mode: str, width: int, height: int) -> Pixels:
    """Encoded picture -> uint8 (height, width, 3), for mode L (height, width); cover and centre crop."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            return cover(np.asarray(picture.convert(mode)), width, height)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnsupportedImage("The picture could not be read.", hint="Send a PNG, JPEG or WebP.") from error


def control_picture(data: bytes, control: Control, request: ResolvedRequest, bundle: ModelBundle) -> Tensor:
    """Edges as the ControlNet's first layers read them: (1, channels, h, w)."""
    if control.type not in bundle.controlnets:
        raise BadRequest(
            f"{bundle.name} has no {control.type} ControlNet.",
            field="control.type",
            hint="Pick another model.",
        )
    edges = canny(pixels(data, "RGB", request.width, request.height), control.low, control.high)
    picture = torch.from_numpy(edges).movedim(-1, 0)[None].to(bundle.device, bundle.dtype) / 255
    embedded: Tensor = bundle.control_embeddings[control.type](picture)
    return embedded


def origin(data: bytes, mask: bytes | None, request: ResolvedRequest, bundle: ModelBundle) -> Origin:
    """The start picture of img2img, and of inpainting when `mask` is given (white = paint here)."""
    picture = _signed(pixels(data, "RGB", request.width, request.height))
    mean, std = _read(picture, bundle)
    if mask is None:
        return Origin(mean, std)
    chosen = torch.from_numpy(pixels(mask, "L", request.width, request.height).astype(np.float32) / 255)
    chosen = (chosen >= 0.5).float()[None, None]
    if not chosen.any():
        raise BadRequest(
            "The mask selects nothing.", field="mask", hint="Paint white where the picture may change."
        )
    small = torch.nn.functional.interpolate(chosen, size=mean.shape[-2:]).to(bundle.device)
    if bundle.unet.config.in_channels == bundle.vae.config.latent_channels:
        return Origin(mean, std, small)
    return Origin(mean, std, small, *_read(picture * (chosen < 0.5), bundle))


def _signed(picture: Pixels) -> Tensor:
    """uint8 (H, W, 3) -> (1, 3, H, W), -1..1."""
    return torch.from_numpy(picture.astype(np.float32) / 255).movedim(-1, 0)[None] * 2 - 1


def _read(picture: Tensor, bundle: ModelBundle) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the VAE's posterior, (1, C, h, w) float32."""
    posterior = bundle.vae.encode(picture.to(bundle.device, bundle.vae.dtype)).latent_dist
    return posterior.mean.float(), posterior.std.float()
