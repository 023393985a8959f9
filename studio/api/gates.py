"""Every address that may be reached, and what a caller needs for it. What is not named here answers 404.

Gradio brings some seventy routes of its own, among them a file proxy, a file server and a recorder; the page
needs a quarter. A new route of ours gets a row here too: tests/api/test_gates.py says which one lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Need = Literal["open", "read", "generate", "admin"]  # open: nobody has to sign in for it

# (what it needs, methods, addresses): {name} is one part of an address, {name:path} the rest of it.
OURS: tuple[tuple[Need, str, str], ...] = (
    ("open", "GET HEAD", "/livez /readyz"),
    ("open", "GET POST", "/login"),
    ("open", "POST", "/logout"),
    ("read", "GET", "/api/v1/me"),
    ("read", "GET", "/metrics"),
    ("read", "GET", "/docs"),
    ("read", "GET HEAD", "/openapi.json"),
    ("generate", "POST", "/generate /api/v1/jobs /api/v1/uploads /api/v1/verify /api/v1/check"),
    ("read", "POST", "/api/v1/forecast"),
    ("read", "GET", "/api/v1/jobs /api/v1/jobs/{id}/events"),
    ("read", "GET HEAD", "/api/v1/jobs/{id:path}"),
    ("generate", "DELETE", "/api/v1/jobs/{id:path}"),
    ("read", "GET", "/api/v1/images"),
    ("read", "GET", "/api/v1/images/{id}/receipt /api/v1/queue /api/v1/collections"),
    ("generate", "POST", "/api/v1/images/star /api/v1/images/trash /api/v1/images/restore"),
    ("generate", "POST", "/api/v1/images/{id}/replay /api/v1/collections"),
    ("generate", "POST", "/api/v1/collections/{id}/add /api/v1/collections/{id}/take"),
    ("generate", "PATCH", "/api/v1/jobs/{id} /api/v1/collections/{id}"),
    ("generate", "DELETE", "/api/v1/collections/{id}"),
    ("admin", "PATCH", "/api/v1/queue"),
    ("read", "GET HEAD", "/api/v1/images/{id:path} /api/v1/images/{id}/file"),
    ("read", "GET", "/api/v1/models /api/v1/schedulers /api/v1/loras /api/v1/presets"),
    ("read", "GET HEAD", "/api/v1/models/{name}"),
    ("read", "GET", "/api/v1/controls /api/v1/pulls /api/v1/pulls/{id}"),
    ("admin", "POST", "/api/v1/pulls /api/v1/models/{name}/default"),
    ("admin", "DELETE", "/api/v1/pulls/{id} /api/v1/models/{name}"),
    # clients' review links; the clients' own page is another app on another port
    ("read", "GET", "/api/v1/review/links /api/v1/review/links/{id} /api/v1/review/links/{id}/trail"),
    ("read", "GET", "/api/v1/review/links/{id}/qr /api/v1/review/links/{id}/package /api/v1/review/feedback"),
    ("generate", "POST", "/api/v1/review/links /api/v1/review/links/{id}/extend"),
    ("generate", "POST", "/api/v1/review/links/{id}/tunnel /api/v1/review/feedback"),
    ("generate", "DELETE", "/api/v1/review/links/{id}"),
    ("generate", "POST", "/api/v1/infotext /api/v1/webhooks"),
    ("generate", "GET", "/api/v1/webhooks"),
    ("generate", "DELETE", "/api/v1/webhooks/{id}"),
    ("read", "GET", "/api/v1/palette /api/v1/palette/{id} /api/v1/palette/{id}/recoloured"),
    ("read", "POST", "/api/v1/rules"),
    ("read", "GET", "/api/v1/images/{id}/rules /api/v1/wildcards"),
    ("admin", "PUT DELETE", "/api/v1/wildcards/{name:path}"),
    # campaigns
    ("generate", "POST", "/api/v1/campaigns /api/v1/campaigns/preview /api/v1/campaigns/{id}/retry"),
    ("generate", "POST", "/api/v1/grids"),
    ("generate", "PATCH", "/api/v1/campaigns/{id}/rows/{row}"),
    ("generate", "DELETE", "/api/v1/campaigns/{id}"),
    ("read", "GET", "/api/v1/campaigns /api/v1/campaigns/{id} /api/v1/campaigns/{id}/rows"),
    ("read", "GET", "/api/v1/campaigns/{id}/pictures.zip"),
    ("read", "GET HEAD", "/api/v1/campaigns/{id}/results.csv /api/v1/campaigns/{id}/contact-sheet.png"),
    # brands
    ("read", "GET", "/api/v1/presets/{name}/source /api/v1/presets/{name}/kit"),
    ("read", "GET", "/api/v1/presets/{name}/versions /api/v1/presets/{name}/versions/{number}"),
    ("admin", "PUT DELETE", "/api/v1/presets/{name}"),
    ("read", "GET", "/api/v1/kits/{kind}/{file}"),
    ("admin", "POST", "/api/v1/kits/{kind}"),
    ("admin", "POST", "/api/v1/kits"),
    # training
    ("generate", "POST", "/api/v1/datasets /api/v1/trainings /api/v1/trainings/forecast"),
    ("generate", "POST", "/api/v1/trainings/{id}/pause /api/v1/trainings/{id}/resume"),
    ("generate", "POST", "/api/v1/datasets/{id}/captions"),
    ("generate", "PATCH", "/api/v1/datasets/{id}"),
    ("read", "GET", "/api/v1/captioners /api/v1/datasets/{id}/pictures/{file}"),
    ("read", "GET", "/api/v1/datasets/{id} /api/v1/trainings /api/v1/trainings/{id}"),
    ("read", "GET", "/api/v1/trainings/{id}/events /api/v1/trainings/{id}/board/{epoch}/{place}"),
    # AUTOMATIC1111's API
    ("generate", "POST", "/sdapi/v1/txt2img /sdapi/v1/img2img /sdapi/v1/interrupt /sdapi/v1/skip"),
    ("generate", "POST", "/sdapi/v1/extra-single-image /sdapi/v1/extra-batch-images /sdapi/v1/png-info"),
    ("read", "GET", "/sdapi/v1/options /sdapi/v1/progress /sdapi/v1/memory /sdapi/v1/cmd-flags"),
    ("generate", "POST", "/sdapi/v1/options"),
    ("read", "GET", "/sdapi/v1/sd-models /sdapi/v1/samplers /sdapi/v1/schedulers /sdapi/v1/upscalers"),
    ("read", "GET", "/sdapi/v1/loras /sdapi/v1/prompt-styles /sdapi/v1/embeddings /sdapi/v1/hypernetworks"),
    ("read", "GET", "/sdapi/v1/face-restorers /sdapi/v1/realesrgan-models /sdapi/v1/sd-vae"),
    ("read", "GET", "/sdapi/v1/sd-modules /sdapi/v1/latent-upscale-modes"),
    ("read", "GET", "/sdapi/v1/scripts /sdapi/v1/script-info"),
    ("read", "POST", "/sdapi/v1/refresh-checkpoints /sdapi/v1/refresh-loras"),
    ("read", "POST", "/sdapi/v1/refresh-vae /sdapi/v1/refresh-embeddings"),
    ("read", "GET", "/controlnet/version /controlnet/model_list /controlnet/module_list"),
    ("read", "GET", "/controlnet/control_types /controlnet/settings"),
    ("generate", "POST", "/controlnet/detect"),
    ("read", "POST", "/internal/progress"),
    # OpenAI's images API
    ("generate", "POST", "/v1/images/generations /v1/images/edits"),
    ("read", "GET", "/v1/models /v1/models/{id:path}"),
    # pictures that gradio_client asked for, by their ids; Gradio's own streams have more parts and stay shut
    ("read", "GET", "/gradio_api/stream/{name}"),
)

# What the page in a browser and the Python client of Gradio ask for; at / and, for the Chinese page, at /zh.
GRADIO: tuple[tuple[Need, str, str], ...] = (
    ("read", "GET HEAD", "/"),
    ("read", "GET", "/config /theme.css /manifest.json /favicon.ico /assets/{file:path} /static/{file:path}"),
    ("read", "GET", "/gradio_api/heartbeat/{session} /gradio_api/queue/data /gradio_api/upload_progress"),
    ("read", "GET", "/gradio_api/info"),  # for gradio_client
    ("generate", "POST", "/gradio_api/queue/join /gradio_api/run/{event} /gradio_api/upload"),
    ("generate", "POST", "/gradio_api/cancel /gradio_api/reset"),
)
LANGUAGES = ("", "/zh")


@dataclass(frozen=True)
class Gate:
    """`pattern`: of `address`, matched against the whole of what was asked for."""

    need: Need
    methods: frozenset[str]
    address: str
    pattern: re.Pattern[str]


def make_gates(rows: Iterable[tuple[Need, str, str]]) -> tuple[Gate, ...]:
    return tuple(
        Gate(need, frozenset(methods.split()), address, pattern_of(address))
        for need, methods, addresses in rows
        for address in addresses.split()
    )


def pattern_of(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?::path)?\})", template)
    return re.compile("".join(map(_piece, parts)), re.DOTALL)


def _piece(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return ".+" if part.endswith(":path}") else "[^/]+"


def gates() -> tuple[Gate, ...]:
    page = [
        (need, methods, " ".join(language + address for address in addresses.split()))
        for language in LANGUAGES
        for need, methods, addresses in GRADIO
    ]
    return make_gates([*OURS, *page, ("read", "GET", "/zh")])


def find(rows: Iterable[Gate], path: str) -> Mapping[str, Need]:
    """What each method needs at this address; empty where there is nothing to be reached."""
    found: dict[str, Need] = {}
    for row in rows:
        if row.pattern.fullmatch(path):
            for method in row.methods:
                found.setdefault(method, row.need)
    return found
