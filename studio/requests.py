"""What is asked for, made whole: preset, LoRA tags, the model's defaults, seed; every name in it checked."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from studio import presets, prompt, uploads
from studio.catalog import CONTROLS, FAMILIES, SCHEDULERS
from studio.errors import BadRequest, NotFound, WrongBase
from studio.models import ModelRow, Models
from studio.presets import Presets
from studio.safety.rules import Rules
from studio.schema import (
    HANDLING,
    GenerationRequest,
    LoraRef,
    ResolvedRequest,
    nearest_names,
    parse,
)

DRAWN_SEEDS = 4_294_967_294  # seeds are drawn from 0 to this less one, as other tools do


class Requests:
    """`picture_bytes`: (file, mime type) of a picture that a request names; raises NotFound."""

    def __init__(
        self,
        models: Models,
        presets: Presets,
        rules: Rules,
        picture_bytes: Callable[[str], tuple[bytes, str]],
    ) -> None:
        self._models, self._presets, self._rules = models, presets, rules
        self._picture_bytes = picture_bytes

    def resolve(self, request: GenerationRequest) -> ResolvedRequest:
        """See `Studio.resolve`."""
        rules = [self._rules]
        if request.preset is not None:
            preset = self._presets.get(request.preset)
            request = presets.apply(preset, request)
            rules.append(Rules(f"preset {preset.name}", preset.banned, preset.required))
        model = self._models.get(request.model if request.model is not None else self._models.default())
        loras = self._stack(request, model)
        for rule in rules:
            rule.check(_plain(request.prompt))
        prompt.parse(request.negative_prompt or "", field="negative_prompt")
        self._check_names(request, model)
        self._check_refiner(request, model)
        self._check_pictures(request)
        asked = request.model_dump(exclude={"seed", "loras", "control", *HANDLING}, exclude_none=True)
        seed = request.seed
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
                "seed": secrets.randbelow(DRAWN_SEEDS) if seed is None or seed == -1 else seed,
                "loras": [lora.model_dump() for lora in loras],
                "control": None if request.control is None else request.control.model_dump(),
            },
        )

    def _stack(self, request: GenerationRequest, model: ModelRow) -> list[LoraRef]:
        """The request's LoRAs and those its prompt names, by their file's name; each fits the model."""
        stack = [(lora.name, lora.weight) for lora in request.loras]
        named = {name for name, _ in stack}
        stack += [(tag.name, tag.unet) for tag in prompt.parse(request.prompt).loras if tag.name not in named]
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
                field="control.type",
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
        for field, id in (
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
        if "mask" in found:
            uploads.check_mask(found["mask"], uploads.size_of(found["init_image"]))


def _plain(text: str) -> str:
    """The words of a prompt without emphasis: spans as one text, for a weight must not part a word."""
    return " ".join("".join(span.text for span in spans) for spans in prompt.parse(text).sections)
