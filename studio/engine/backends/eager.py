"""PyTorch as it is: float32 is the truth, the half precisions are its fast forms."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from studio.engine.backends.networks import Call, Residuals, numbered
from studio.engine.weights import ModelBundle


class Eager:
    def __init__(self, bundle: ModelBundle) -> None:
        self._bundle = bundle

    @property
    def name(self) -> str:
        return "int8" if self._bundle.eight else numbered(self._bundle.dtype)

    def predict(self, call: Call) -> Tensor:
        extra: dict[str, Any] = {}
        if call.residuals is not None:
            extra = {
                "down_block_additional_residuals": call.residuals.down,
                "mid_block_additional_residual": call.residuals.middle,
            }
        with self._bundle.banks["unet"].weights(call.loras):
            noise: Tensor = self._bundle.unet(
                call.rows,
                call.moments,
                encoder_hidden_states=call.text,
                timestep_cond=call.told,
                added_cond_kwargs=call.added,
                return_dict=False,
                **extra,
            )[0]
        return noise.float()

    def steer(self, kind: str, call: Call, picture: Tensor, scale: Tensor) -> Residuals:
        down, middle = self._bundle.controlnets[kind](
            call.rows,
            call.moments,
            encoder_hidden_states=call.text,
            controlnet_cond=picture,
            conditioning_scale=scale,
            added_cond_kwargs=call.added,
            return_dict=False,
        )
        return Residuals(tuple(down), middle)

    def decode(self, latents: Tensor) -> Tensor:
        vae = self._bundle.vae
        picture: Tensor = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
        return picture.float()
