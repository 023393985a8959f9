"""An A1111 request as the studio's own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from studio import infotext
from studio.api import pictures
from studio.api.a1111 import control
from studio.api.a1111.names import model_named, scheduler_key
from studio.api.a1111.shapes import UNSUPPORTED, ImageToImage, TextToImage, Unit, Wish
from studio.errors import BadRequest, NotFound
from studio.requests import DRAWN_SEEDS
from studio.schema import MAX_COUNT, MAX_SEED, GenerationRequest, parse
from studio.studio import Studio
from studio.uploads import Upload

HIRES_STRENGTH = 0.7
REFINER_SWITCH = 0.8


@dataclass
class Order:
    """`fields`: of the native request; picture fields hold no ids before `kept`. `dropped`: what was asked
    and is not to be had, told in the answer's `info`."""

    fields: dict[str, Any]
    batches: int
    dropped: list[str]
    unit: Unit | None = None
    pictures: dict[str, Upload] = field(default_factory=dict)
    hires: TextToImage | None = None

    def requests(self) -> list[GenerationRequest]:
        """One a batch, of consecutive seeds."""
        first, size = self.fields["seed"], self.fields["count"]
        return [
            parse(GenerationRequest, {**self.fields, "seed": (first + batch * size) % (MAX_SEED + 1)})
            for batch in range(self.batches)
        ]


def order_of(studio: Studio, wish: Wish, options: Mapping[str, Any]) -> Order:
    """Names and numbers are checked here, pictures decoded; nothing is written yet."""
    control.check_scripts(wish)
    fields = fields_of(studio, wish)
    if wish.n_iter is not None and wish.n_iter < 1:
        raise BadRequest(f"n_iter: a whole number of at least 1; got {wish.n_iter}.", field="n_iter")
    order = Order(fields, wish.n_iter or 1, dropped_of(wish))
    name_parts(studio, order, wish, {**options, **(wish.override_settings or {})})
    if fields["count"] * order.batches > MAX_COUNT:
        asked = fields["count"] * order.batches
        raise BadRequest(f"batch_size x n_iter is {asked}; at most {MAX_COUNT} pictures.", field="n_iter")
    parse(GenerationRequest, fields)
    order.unit = control.unit_of(wish)
    order.dropped += control.unsupported(order.unit)
    width, height = size_of(studio, fields)
    if isinstance(wish, TextToImage) and wish.enable_hr:
        order.hires = wish
        second_pass(wish, parse(GenerationRequest, fields), (width, height), "0", 0)  # its sizes, early
    if isinstance(wish, ImageToImage):
        take_pictures(studio, order, wish, width, height)
    if order.unit is not None:
        cleaned = pictures.opaque(studio.cleaned(control.picture_bytes(order.unit)))
        fit = pictures.fitted(pictures.opened(cleaned), width, height, control.mode_of(order.unit))
        order.pictures["control"] = pictures.packed(fit)
    return order


def fields_of(studio: Studio, wish: Wish) -> dict[str, Any]:
    """Numbers and words, without names."""
    told = infotext.read(wish.infotext).model_dump(exclude_none=True) if wish.infotext else {}
    given = {
        "negative_prompt": wish.negative_prompt,
        "steps": wish.steps,
        "guidance": wish.cfg_scale,
        "width": None if wish.width is None else wish.width - wish.width % 8,
        "height": None if wish.height is None else wish.height - wish.height % 8,
        "strength": wish.denoising_strength if isinstance(wish, ImageToImage) else None,
    }
    kept = {name: told[name] for name in ("scheduler", *given) if name in told}
    fields: dict[str, Any] = kept | {name: value for name, value in given.items() if value is not None}
    fields["prompt"] = wish.prompt or told.get("prompt") or " "  # these clients may leave it empty
    fields["count"] = 1 if wish.batch_size is None else wish.batch_size
    seed = wish.seed if wish.seed is not None else told.get("seed", -1)
    fields["seed"] = secrets.randbelow(DRAWN_SEEDS) if seed == -1 else seed
    return fields


def name_parts(studio: Studio, order: Order, wish: Wish, settings: Mapping[str, Any]) -> None:
    """Sampler, checkpoint, style: what is known by name."""
    sampler = wish.sampler_name or wish.sampler_index
    if sampler:
        order.fields["scheduler"], lacking = scheduler_key(sampler, wish.scheduler or "")
        order.dropped += [lacking] if lacking else []
    checkpoint = settings.get("sd_model_checkpoint")
    if isinstance(checkpoint, str) and checkpoint:
        order.fields["model"] = model_named(checkpoint, studio.models.list())
    if wish.refiner_checkpoint and wish.refiner_checkpoint != "None":
        switch = REFINER_SWITCH if wish.refiner_switch_at is None else wish.refiner_switch_at
        if switch < 1:  # at 1 there is nothing left to refine
            refiner = model_named(wish.refiner_checkpoint, studio.models.list())
            order.fields["refiner"] = {"model": refiner, "at": switch}
    known = {preset.name: preset for preset in studio.presets.list()}
    for style in wish.styles or ():
        if style in known and "preset" not in order.fields:
            order.fields["preset"] = style
        else:
            order.dropped.append(f"style {style[:80]}")
    clip_skip = settings.get("CLIP_stop_at_last_layers")
    if isinstance(clip_skip, (int, float)) and clip_skip > 1:
        order.dropped.append(f"clip skip {clip_skip:g}")
    vae = settings.get("sd_vae")
    if isinstance(vae, str) and vae.casefold() not in ("", "automatic", "none"):
        order.dropped.append(f"VAE {vae[:80]}")


def dropped_of(wish: Wish) -> list[str]:
    asked = [name for name, plain in UNSUPPORTED.items() if getattr(wish, name) not in plain]
    if isinstance(wish, ImageToImage) and wish.mask:
        asked += ["inpaint_full_res"] if wish.inpaint_full_res else []
        asked += [f"inpainting_fill {wish.inpainting_fill}"] if (wish.inpainting_fill or 0) > 1 else []
    return asked


def size_of(studio: Studio, fields: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height in px that the request will have."""
    resolved = studio.resolve(parse(GenerationRequest, dict(fields)))
    return resolved.width, resolved.height


def take_pictures(studio: Studio, order: Order, wish: ImageToImage, width: int, height: int) -> None:
    """The start picture and its mask, both at the size of the picture to come."""
    if not wish.init_images:
        raise NotFound("Init image not found.", hint="Send init_images.", field="init_images")
    if len(wish.init_images) > 1:
        order.dropped.append(f"{len(wish.init_images) - 1} further init_images")
    start = pictures.opaque(studio.cleaned(pictures.decoded(wish.init_images[0], "init_images")))
    mode = wish.resize_mode if wish.resize_mode in (0, 1, 2) else 0
    picture = pictures.fitted(pictures.opened(start).convert("RGB"), width, height, mode)
    if wish.mask:
        given = pictures.opened(studio.cleaned(pictures.decoded(wish.mask, "mask")))
        blur = 4 if wish.mask_blur is None else max(0.0, min(wish.mask_blur, 64))
        mask = pictures.grey_mask(given, bool(wish.inpainting_mask_invert), blur)
        mask = pictures.fitted(mask, width, height, mode)
        if (wish.inpainting_fill or 0) == 0:
            picture = pictures.filled(picture, mask)
        order.pictures["mask"] = pictures.packed(mask)
    order.pictures["init_image"] = pictures.packed(picture)


def keep_pictures(studio: Studio, order: Order) -> None:
    """Stores them and names them in the request. Called last, when all else was found right."""
    ids = {name: studio.keep(picture) for name, picture in order.pictures.items()}
    if order.unit is not None:
        order.fields["control"] = control.control_of(order.unit, ids.pop("control"))
    order.fields.update(ids)


def second_pass(
    wish: TextToImage, first: GenerationRequest, size: tuple[int, int], image: str, seed: int
) -> GenerationRequest:
    """The hires pass over a finished picture. `size`: of that picture in px."""
    scale = 2.0 if wish.hr_scale is None else wish.hr_scale
    wide, high = wish.hr_resize_x or 0, wish.hr_resize_y or 0
    if not wide and not high:
        wide, high = round(size[0] * scale), round(size[1] * scale)
    wide, high = wide or round(size[0] * high / size[1]), high or round(size[1] * wide / size[0])
    changed = {
        "width": wide - wide % 8, "height": high - high % 8, "seed": seed, "count": 1, "init_image": image,
        "strength": HIRES_STRENGTH if wish.denoising_strength is None else wish.denoising_strength,
        "prompt": wish.hr_prompt or first.prompt,
        "negative_prompt": wish.hr_negative_prompt or first.negative_prompt,
        "steps": wish.hr_second_pass_steps or first.steps,
    }  # fmt: skip
    return parse(GenerationRequest, {**first.model_dump(mode="json"), **changed})
