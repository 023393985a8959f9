"""What there is to choose from, in A1111's shapes. A file's place on the disk is never among it."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request

from studio.api.a1111.clients import Caller, Clients, caller_of
from studio.api.a1111.names import model_named, samplers, title_of
from studio.catalog import UPSCALERS
from studio.studio import Studio

Rows = list[dict[str, Any]]
EMPTY = (
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "sd-vae",
    "sd-modules",
    "latent-upscale-modes",
)
SCHEDULES = (("automatic", "Automatic"), ("karras", "Karras"))
REFRESH = ("refresh-checkpoints", "refresh-loras", "refresh-vae", "refresh-embeddings")
CONTROL_VERSION = 3  # of the ControlNet routes
EDGES = "canny"


def options_of(studio: Studio, clients: Clients, caller: Caller) -> dict[str, Any]:
    """The options clients read. What a caller set is told back to that caller alone."""
    own = clients.options(caller)
    return {
        "samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic",
        "sd_checkpoint_hash": "", "enable_pnginfo": True, "live_previews_enable": True,
        "show_progress_every_n_steps": 1, "eta_noise_seed_delta": 0, "randn_source": "CPU",
        "img2img_fix_steps": False, "upscaler_for_img2img": None,
        "sd_model_checkpoint": studio.models.default(),
    } | own  # fmt: skip


def add_options(router: APIRouter, studio: Studio, clients: Clients) -> None:
    @router.get("/options", summary="Options; some clients ask for them to see whether the studio lives")
    def get_options(request: Request) -> dict[str, Any]:
        return options_of(studio, clients, caller_of(request))


def chosen(studio: Studio, given: dict[str, Any]) -> dict[str, Any]:
    """The options worth keeping. Raises NotFound for a checkpoint that is not there."""
    kept = {
        name: value for name, value in given.items() if name in KEPT and isinstance(value, (str, int, float))
    }
    if "sd_model_checkpoint" in kept:
        kept["sd_model_checkpoint"] = model_named(str(kept["sd_model_checkpoint"]), studio.models.list())
    return kept


KEPT = ("sd_model_checkpoint", "CLIP_stop_at_last_layers", "sd_vae")


def add_lists(router: APIRouter, studio: Studio) -> None:
    @router.get("/sd-models", summary="Installed models")
    def sd_models() -> Rows:
        return [
            {
                "title": title_of(row), "model_name": row.name, "hash": row.hash[:10] or None,
                "sha256": row.hash or None,
                "filename": row.name, "config": None,
            }
            for row in studio.models.list()
        ]  # fmt: skip

    @router.get("/samplers", summary="Schedulers by A1111's names")
    def list_samplers() -> Rows:
        return [{"name": name, "aliases": keys, "options": {}} for name, keys in samplers().items()]

    @router.get("/schedulers", summary="Step schedules")
    def schedulers() -> Rows:
        return [
            {"name": name, "label": label, "aliases": None, "default_rho": -1, "need_inner_model": False}
            for name, label in SCHEDULES
        ]

    @router.get("/upscalers", summary="For extra-single-image")
    def upscalers() -> Rows:
        return [
            {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4}
            for name in ("None", *UPSCALERS.values())
        ]

    @router.get("/loras", summary="Installed LoRA styles")
    def loras() -> Rows:
        return [
            {
                "name": row.name, "alias": row.title or row.name, "path": row.file.name,
                "metadata": {
                    "ss_base_model_version": row.base, "ss_network_dim": row.rank,
                    "ss_network_alpha": row.alpha, "modelspec.trigger_phrase": row.trigger,
                },
            }
            for row in studio.models.loras() if not row.problem
        ]  # fmt: skip

    @router.get("/prompt-styles", summary="Brand presets")
    def prompt_styles() -> Rows:
        return [
            {"name": row.name, "prompt": row.prompt, "negative_prompt": row.negative_prompt or ""}
            for row in studio.presets.list()
        ]


def add_machine(router: APIRouter, studio: Studio) -> None:
    @router.get("/embeddings", summary="None: the studio has no textual inversion")
    def embeddings() -> dict[str, Any]:
        return {"loaded": {}, "skipped": {}}

    @router.get("/memory", summary="Bytes of this machine, and of the worker")
    def memory() -> dict[str, Any]:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        worker = studio.status().worker
        return {
            "ram": {"free": free, "used": total - free, "total": total},
            "cuda": {"device": worker.device, "used": worker.memory},
        }

    @router.get("/cmd-flags", summary="How the studio was started, as far as it concerns a client")
    def cmd_flags() -> dict[str, Any]:
        settings = studio.settings
        return {"api": True, "listen": settings.host not in ("127.0.0.1", "localhost"), "port": settings.port}

    @router.get("/scripts", summary="Scripts that requests may name")
    def scripts() -> dict[str, list[str]]:
        return {"txt2img": ["controlnet"], "img2img": ["controlnet"]}

    @router.get("/script-info", summary="As /scripts, with their arguments")
    def script_info() -> Rows:
        return [
            {"name": "controlnet", "is_alwayson": True, "is_img2img": second, "args": []}
            for second in (False, True)
        ]

    for name in EMPTY:
        router.add_api_route(f"/{name}", nothing, methods=["GET"], summary="Nothing of the kind here")
    for name in REFRESH:
        router.add_api_route(
            f"/{name}", refreshed, methods=["POST"], summary="Nothing to do: folders are read each time"
        )


def nothing() -> Rows:
    return []


def refreshed() -> None:
    return None


def add_control_lists(router: APIRouter) -> None:
    @router.get("/version", summary="Of these routes")
    def version() -> dict[str, int]:
        return {"version": CONTROL_VERSION}

    @router.get("/model_list", summary="ControlNet models")
    def model_list() -> dict[str, list[str]]:
        return {"model_list": [EDGES]}

    @router.get("/module_list", summary="Preprocessors")
    def module_list() -> dict[str, Any]:
        sliders = [
            {"name": "Low Threshold", "value": 100, "min": 1, "max": 255},
            {"name": "High Threshold", "value": 200, "min": 1, "max": 255},
        ]
        detail = {EDGES: {"model_free": False, "sliders": [None, *sliders]}}
        return {"module_list": [EDGES], "module_detail": detail}

    @router.get("/control_types", summary="Kinds of control")
    def control_types() -> dict[str, Any]:
        row = {"module_list": [EDGES], "model_list": [EDGES], "default_option": EDGES, "default_model": EDGES}
        return {"control_types": {"All": row, "Canny": row}}

    @router.get("/settings", summary="How many units a request may have")
    def settings() -> dict[str, int]:
        return {"control_net_unit_count": 1}
