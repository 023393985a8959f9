"""`alwayson_scripts` and ControlNet units: canny, from a picture."""

from __future__ import annotations

from typing import Any

from studio.api.a1111.shapes import Unit, Wish
from studio.api.pictures import MODES, decoded
from studio.errors import BadRequest
from studio.schema import parse

MODULES = ("canny",)
UNIT_FIELDS = ("weight", "guidance_start", "guidance_end")


def check_scripts(wish: Wish) -> None:
    """Raises BadRequest for a script that is not here; one that is sent switched off is let pass."""
    if wish.script_name:
        raise BadRequest(
            f"Script {wish.script_name[:80]!r} not found.", field="script_name", code="script_not_found"
        )
    for name, script in (wish.alwayson_scripts or {}).items():
        arguments = script.get("args") if isinstance(script, dict) else script
        off = not arguments or (isinstance(arguments, list) and arguments[0] is False)
        if name.casefold() != "controlnet" and not off:
            raise BadRequest(
                f"Always-on script {name[:80]!r} not found.", hint="There is: controlnet.",
                field="alwayson_scripts", code="script_not_found",
            )  # fmt: skip


def unit_of(wish: Wish) -> Unit | None:
    """The one unit that is switched on. Raises BadRequest for two, and for other preprocessors than canny."""
    scripts = {name.casefold(): script for name, script in (wish.alwayson_scripts or {}).items()}
    script = scripts.get("controlnet")
    rows = script.get("args") if isinstance(script, dict) else None
    if rows is not None and not isinstance(rows, list):
        raise BadRequest("controlnet.args is a list of units.", field="alwayson_scripts")
    units = [parse(Unit, row) for row in rows or () if isinstance(row, dict)]
    on = [unit for unit in units if unit.enabled is not False and picture_of(unit)]
    if not on:
        return None
    if len(on) > 1:
        raise BadRequest(f"{len(on)} ControlNet units; the studio takes one.", field="alwayson_scripts")
    check_module(on[0].module or "canny", on[0].model or "")
    return on[0]


def check_module(module: str, model: str = "") -> None:
    if module.casefold() not in MODULES:
        raise BadRequest(
            f"No preprocessor {module[:80]!r}.", hint="There is: canny, from an ordinary picture.",
            field="alwayson_scripts", code="control_not_available",
        )  # fmt: skip
    if model.casefold() not in ("", "none") and "canny" not in model.casefold():
        raise BadRequest(
            f"No ControlNet model {model[:80]!r}.", hint="There is: canny.",
            field="alwayson_scripts", code="control_not_available",
        )  # fmt: skip


def picture_of(unit: Unit) -> str:
    given: Any = unit.image if unit.image is not None else unit.input_image
    if isinstance(given, dict):
        given = given.get("image")
    return given if isinstance(given, str) else ""


def picture_bytes(unit: Unit) -> bytes:
    return decoded(picture_of(unit), "alwayson_scripts.controlnet.image")


def mode_of(unit: Unit) -> int:
    """0 stretched, 1 cropped, 2 whole; 1 for what is none of them."""
    words = {name.casefold(): number for number, name in enumerate(MODES)}
    if isinstance(unit.resize_mode, str):
        return words.get(unit.resize_mode.casefold(), 1)
    return unit.resize_mode if unit.resize_mode in (0, 1, 2) else 1


def thresholds(low: float | None, high: float | None) -> tuple[int, int]:
    """Of two that are equal, or the wrong way round, the ones canny can work with."""
    pair = sorted((in_range(low, 1, 255, 100), in_range(high, 1, 255, 200)))
    small, large = round(pair[0]), round(pair[1])
    return (small, large) if small < large else (min(small, 254), min(small, 254) + 1)


def in_range(value: float | None, least: float, most: float, default: float) -> float:
    return default if value is None or not least <= value <= most else value


def control_of(unit: Unit, image: str) -> dict[str, Any]:
    """As the native request has it. `image`: id of the upload."""
    low, high = thresholds(unit.threshold_a, unit.threshold_b)
    start = in_range(unit.guidance_start, 0, 1, 0.0)
    end = in_range(unit.guidance_end, 0, 1, 1.0)
    if start >= end:
        start, end = 0.0, 1.0
    return {
        "type": "canny", "image": image, "low": low, "high": high,
        "scale": in_range(unit.weight, 0, 2, 1.0), "start": float(start), "end": float(end),
    }  # fmt: skip


def unsupported(unit: Unit | None) -> list[str]:
    if unit is None or unit.control_mode in (None, 0, "Balanced"):
        return []
    return [f"control mode {str(unit.control_mode)[:40]}"]
