"""Samplers, schedules and checkpoints by the names A1111's clients know them by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from studio.catalog import SCHEDULERS
from studio.errors import BadRequest, NotFound
from studio.models import ModelRow
from studio.schema import nearest_names

KARRAS = " Karras"
AUTOMATIC = ("", "automatic", "use same scheduler", "none")
HASH = re.compile(r"\s*\[[0-9a-f]{8,64}\]$", re.IGNORECASE)
SHORT_HASH = re.compile("[0-9A-Fa-f]{10,64}")
SUFFIX = re.compile(r"\.(?:safetensors|ckpt|pt)$", re.IGNORECASE)
# Names of the same method elsewhere, by ours.
ALIASES: Mapping[str, str] = {
    "euler_a": "Euler a", "euler ancestral": "Euler a", "dpm++ 2m sde": "DPM++ 2M SDE", "plms": "PLMS",
    "dpm2 karras": "DPM2", "dpm2 a karras": "DPM2 a", "lms karras": "LMS", "unipc": "UniPC",
    "k_euler": "Euler", "k_euler_a": "Euler a", "k_lms": "LMS", "k_heun": "Heun", "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a", "k_dpmpp_2m": "DPM++ 2M", "k_dpmpp_2m_ka": "DPM++ 2M Karras",
}  # fmt: skip


def samplers() -> dict[str, list[str]]:
    """Sampler name -> our keys of it, the one without a schedule first."""
    found: dict[str, list[str]] = {}
    for key, row in SCHEDULERS.items():
        found.setdefault(row.a1111.removesuffix(KARRAS), []).append(key)
    return found


def scheduler_key(sampler: str, schedule: str) -> tuple[str, str]:
    """(our key, what of the wish is not to be had: '' when all is). Raises BadRequest: unknown sampler."""
    known = {row.a1111.casefold(): key for key, row in SCHEDULERS.items()} | {key: key for key in SCHEDULERS}
    folded = sampler.casefold().strip()
    folded = ALIASES.get(folded, folded).casefold()
    if folded not in known:
        raise BadRequest(
            f"Sampler {sampler[:80]!r} not found.",
            hint=nearest_names(sampler[:80], samplers()), field="sampler_name", code="scheduler_not_found",
        )  # fmt: skip
    wanted = schedule.casefold().strip()
    if wanted in AUTOMATIC or folded.endswith(wanted):
        return known[folded], ""
    if f"{folded} {wanted}" in known:
        return known[f"{folded} {wanted}"], ""
    return known[folded], f"schedule {schedule[:40]} with {SCHEDULERS[known[folded]].a1111}"


def title_of(model: ModelRow) -> str:
    return model.name


def model_named(name: str, models: Iterable[ModelRow]) -> str:
    """Our name of a checkpoint given by title, file name, stem or hash. Raises NotFound."""
    rows = list(models)
    plain = SUFFIX.sub("", HASH.sub("", name.strip())).replace("\\", "/").rpartition("/")[2]
    for row in rows:
        if row.name.casefold() in (name.strip().casefold(), plain.casefold()):
            return row.name
    for row in rows:
        if SHORT_HASH.fullmatch(plain) and row.hash.startswith(plain.lower()):
            return row.name
    raise NotFound(
        f"No model {name[:80]!r}.", hint=nearest_names(plain[:80], [row.name for row in rows]),
        field="sd_model_checkpoint", code="model_not_found",
    )  # fmt: skip
