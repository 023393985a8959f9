"""What A1111's clients send. Null means the same as left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.api.foreign import Sent

# Fields that change the picture in ways the studio has not: (name, values that ask for nothing).
UNSUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "subseed_strength": (None, 0),
    "restore_faces": (None, False),
    "tiling": (None, False),
}


class Wish(Sent):
    """Fields of both kinds of request. Left out: the preset's, else the model's own default."""

    prompt: str | None = None
    negative_prompt: str | None = None
    styles: list[str] | None = None
    seed: int | None = None
    subseed: int | None = None
    subseed_strength: float | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: int | None = None
    n_iter: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    restore_faces: bool | None = None
    tiling: bool | None = None
    denoising_strength: float | None = None
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = None
    script_name: str | None = None
    script_args: list[Any] | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = None
    save_images: bool | None = None
    infotext: str | None = None
    force_task_id: str | None = None


class TextToImage(Wish):
    enable_hr: bool | None = None
    hr_scale: float | None = None
    hr_upscaler: str | None = None
    hr_second_pass_steps: int | None = None
    hr_resize_x: int | None = None
    hr_resize_y: int | None = None
    hr_prompt: str | None = None
    hr_negative_prompt: str | None = None


class ImageToImage(Wish):
    init_images: list[str] | None = None
    mask: str | None = None
    mask_blur: float | None = None
    inpainting_fill: int | None = None
    inpaint_full_res: bool | None = None
    inpaint_full_res_padding: int | None = None
    inpainting_mask_invert: int | None = None
    resize_mode: int | None = None
    image_cfg_scale: float | None = None
    include_init_images: bool | None = None


class PngInfo(Sent):
    image: str = ""


class Extras(Sent):
    """`resize_mode` 0: by the factor `upscaling_resize`; 1: to `upscaling_resize_w` x `_h` px."""

    resize_mode: int | None = None
    upscaling_resize: float | None = None
    upscaling_resize_w: int | None = None
    upscaling_resize_h: int | None = None
    upscaling_crop: bool | None = None
    upscaler_1: str | None = None
    upscaler_2: str | None = None
    extras_upscaler_2_visibility: float | None = None
    gfpgan_visibility: float | None = None
    codeformer_visibility: float | None = None


class ExtraSingle(Extras):
    image: str = ""


class NamedPicture(Sent):
    data: str = ""
    name: str = ""


class ExtraBatch(Extras):
    imageList: list[NamedPicture] = []


class Detect(Sent):
    controlnet_module: str | None = None
    controlnet_input_images: list[str] | None = None
    controlnet_images: list[str] | None = None  # webuiapi's name for it
    controlnet_processor_res: int | None = None
    controlnet_threshold_a: float | None = None
    controlnet_threshold_b: float | None = None


class TaskQuestion(Sent):
    id_task: str | None = None
    id_live_preview: int | None = None
    live_preview: bool | None = None


class Unit(Sent):
    """One ControlNet unit. Values that cannot be fall back to their defaults, as they do there."""

    enabled: bool | None = None
    module: str | None = None
    model: str | None = None
    weight: float | None = None
    image: Any = None
    input_image: Any = None
    resize_mode: int | str | None = None
    processor_res: float | None = None
    threshold_a: float | None = None
    threshold_b: float | None = None
    guidance_start: float | None = None
    guidance_end: float | None = None
    pixel_perfect: bool | None = None
    control_mode: int | str | None = None
