"""What is asked for, made whole: preset, LoRA tags, the model's defaults, seed; every name in it checked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import numpy as np

from studio import presets, prompt, uploads
from studio.brand.colour import read_hex, to_lab
from studio.catalog import CONTROLS, FAMILIES, SCHEDULERS
from studio.errors import BadRequest, NotFound, WrongBase
from studio.models import ModelRow, Models
from studio.presets import Presets
from studio.safety.rules import Rules
from studio.schema import (
    HANDLING,
    PLAIN,
    TRANSPARENT,
    Control,
    GenerationRequest,
    LoraRef,
    ResolvedRequest,
    nearest_names,
    parse,
)
from studio.wildcards import Wildcards

WHITE = "#FFFFFF"
DRAWN_SEEDS = 4_294_967_294  # seeds are drawn from 0 to this less one, as other tools do


class Requests:
    """`picture_bytes`: (file, mime type) of a picture that a request names; raises NotFound.

    `check_product`: judges the picture of a product by its id; raises BadRequest.
    """

    def __init__(
        self,
        models: Models,
        presets: Presets,
        rules: Rules,
        picture_bytes: Callable[[str], tuple[bytes, str]],
        check_product: Callable[[str], None],
        wildcards: Wildcards,
    ) -> None:
        self._models, self._presets, self._rules, self._wildcards = models, presets, rules, wildcards
        self._picture_bytes, self._check_product = picture_bytes, check_product

    def rules_of(self, preset: str | None) -> list[Rules]:
        """Whose words a prompt has to keep to. Raises NotFound."""
        if preset is None:
            return [self._rules]
        brand = self._presets.get(preset)
        return [self._rules, Rules(f"preset {brand.name}", brand.banned, brand.required)]

    def resolve(self, request: GenerationRequest, ruled: bool = True) -> ResolvedRequest:
        """See `Studio.resolve`. `ruled`: whether prompts have to keep to the words of `rules_of`."""
        if request.preset is not None:
            request = presets.apply(self._presets.get(request.preset), request)
        request = _with_outline(request)
        seed = secrets.randbelow(DRAWN_SEEDS) if request.seed in (None, -1) else request.seed
        assert seed is not None
        texts = self._wildcards.draw(request.prompt, seed, request.count)
        template = None if texts == (request.prompt,) else request.prompt
        model = self._models.get(request.model if request.model is not None else self._models.default())
        loras = self._stack(request, model, texts)
        for rule in self.rules_of(request.preset) if ruled else ():
            for text in texts:
                rule.check(plain(text))
        prompt.parse(request.negative_prompt or "", field="negative_prompt")
        self._check_names(request, model)
        self._check_refiner(request, model)
        self._check_pictures(request)
        left_out = {"seed", "loras", "control", "background", *HANDLING}
        asked = request.model_dump(exclude=left_out, exclude_none=True)
        return parse(
            ResolvedRequest,
            {
                "negative_prompt": "",
                "width": model.size,
                "height": model.size,
                "steps": model.steps,
                "guidance": model.guidance,
                "scheduler": model.scheduler,
                **asked,
                "model": model.name,
                "prompt": texts[0],
                "template": template,
                "prompts": texts if len(texts) > 1 else (),
                "seed": seed,
                "loras": [lora.model_dump() for lora in loras],
                "control": None if request.control is None else request.control.model_dump(),
                "background": self._ground(request),
            },
        )

    def _ground(self, request: GenerationRequest) -> str:
        """With the colour that "plain" means now: a brand that changes later changes no job."""
        if request.background == TRANSPARENT and request.format == "jpeg":
            raise BadRequest(
                "A JPEG cannot be transparent.",
                hint="Ask for png or webp, or for a plain background.",
                field="format",
                code="transparent_needs_png",
            )
        if request.background != PLAIN:
            return request.background
        brand = None if request.preset is None else self._presets.get(request.preset)
        colours = list(brand.palette.values()) if brand is not None else []
        return max(colours or [WHITE], key=lambda colour: float(to_lab(np.array(read_hex(colour)))[0]))

    def _tags(self, request: GenerationRequest, text: str) -> tuple[prompt.LoraTag, ...]:
        """Of a drawn prompt; where the preset locks its styles only those that its own frame names."""
        found = prompt.parse(text).loras
        preset = None if request.preset is None else self._presets.get(request.preset)
        if preset is None or "loras" not in preset.locked:
            return found
        own = {tag.name for tag in prompt.parse(preset.prompt).loras}
        return tuple(tag for tag in found if tag.name in own)

    def _stack(self, request: GenerationRequest, model: ModelRow, texts: Sequence[str]) -> list[LoraRef]:
        """The request's LoRAs and those its prompt names, by their file's name; each fits the model."""
        tags = {self._tags(request, text) for text in texts}
        if len(tags) > 1:
            raise BadRequest(
                f"The {len(texts)} pictures draw {len(tags)} different stacks of styles; a request has one.",
                hint="Ask for one picture at a time, or take the <lora:...> tags out of the braces.",
                field="prompt",
                code="wildcard_loras",
            )
        stack = [(lora.name, lora.weight) for lora in request.loras]
        named = {name for name, _ in stack}
        stack += [(tag.name, tag.unet) for tag in tags.pop() if tag.name not in named]
        for name, _ in stack:
            self._models.check_lora(name, model.name)
        return [
            parse(LoraRef, {"name": self._models.lora(name).name, "weight": weight}) for name, weight in stack
        ]

    def _check_names(self, request: GenerationRequest, model: ModelRow) -> None:
        if request.scheduler is not None and request.scheduler not in SCHEDULERS:
            raise BadRequest(
                f"No scheduler {request.scheduler!r}.",
                hint=nearest_names(request.scheduler, SCHEDULERS),
                field="scheduler",
                code="scheduler_not_found",
            )
        control = request.control
        if control is not None and control.type not in model.controls:
            raise BadRequest(
                f"Model {model.name} has no {CONTROLS[control.type].label} ControlNet.",
                hint=f"Controls of this model: {', '.join(model.controls) or 'none'}.",
                field="product.edges" if _outlined(request) else "control.type",
                code="control_not_available",
            )

    def _check_refiner(self, request: GenerationRequest, model: ModelRow) -> None:
        if model.refines:
            raise BadRequest(
                f"{model.name} finishes pictures of another model and begins none.",
                hint=f'Name the other model, and this one as "refiner": {{"model": "{model.name}"}}.',
                field="model",
                code="model_refines",
            )
        if request.refiner is None:
            return
        refiner = self._models.get(request.refiner.model)
        if not refiner.refines:
            raise BadRequest(
                f"{refiner.name} is no refiner: it is a whole {FAMILIES[refiner.family].label} model.",
                hint="A refiner has the second text encoder alone, as stable-diffusion-xl-refiner-1.0 has.",
                field="refiner.model",
                code="not_a_refiner",
            )
        if refiner.family != model.family:
            raise WrongBase(
                f"{refiner.name} refines {FAMILIES[refiner.family].label}, {model.name} is "
                f"{FAMILIES[model.family].label}: text rows of {refiner.context} and {model.context}.",
                hint=f"Pick a {FAMILIES[refiner.family].label} model, or leave the refiner out.",
                field="refiner.model",
            )

    def _check_pictures(self, request: GenerationRequest) -> None:
        found: dict[str, bytes] = {}
        control = None if request.control is None else request.control.image
        product = None if request.product is None else request.product.image
        for field, id in (
            ("product.image", product),
            ("control.image", control),
            ("init_image", request.init_image),
            ("mask", request.mask),
        ):
            if id is not None:
                try:
                    found[field] = self._picture_bytes(id)[0]
                except NotFound as error:
                    raise NotFound(
                        f"{field}: no picture {id!r}.",
                        hint="Send it to uploads first; the answer has its id.",
                        field=field,
                        code=error.code,
                    ) from None
        if product is not None:
            self._check_product(product)
        if "mask" in found:
            uploads.check_mask(found["mask"], uploads.size_of(found["init_image"]))


def _outlined(request: GenerationRequest) -> bool:
    return request.product is not None and request.product.edges


def _with_outline(request: GenerationRequest) -> GenerationRequest:
    """A product whose outline guides the scene is the picture of a canny control."""
    if request.product is None or not request.product.edges or request.control is not None:
        return request
    return request.model_copy(update={"control": Control(image=request.product.image)})


def plain(text: str) -> str:
    """The words of a prompt without emphasis: spans as one text, for a weight must not part a word."""
    return " ".join("".join(span.text for span in spans) for spans in prompt.parse(text).sections)
