"""What a brand file means, as its users will see it; and what the editor writes into one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from studio.presets import Preset
from studio.ui.html import Markup, element
from studio.ui.presets import titled
from studio.ui.text import Text

PLAIN = ("model", "scheduler", "steps", "guidance", "width", "height")


def meaning(t: Text, preset: Preset, missing: Sequence[str]) -> Markup:
    """`missing`: files the brand names and this studio lacks."""
    frame = preset.prompt.replace("{prompt}", "…") if preset.prompt != "{prompt}" else ""
    locked = ", ".join(t(f"field_{name}") for name in preset.locked)
    lines = (
        t("preset_frame", frame=frame) if frame else "",
        " · ".join(settings(t, preset)),
        t("preset_locks", fields=locked) if locked else "",
        *kit_lines(t, preset),
    )
    return element(
        "div",
        element("p", element("b", titled(preset, t.language))),
        *[element("p", line) for line in lines if line],
        element("ul", *swatches(t, preset), class_="brand-palette") if preset.palette else None,
        samples(t, preset, missing),
        element("p", t("brands_missing", names=", ".join(missing)), class_="bad") if missing else None,
        class_="note", role="status", data_valid="yes",
    )  # fmt: skip


def settings(t: Text, preset: Preset) -> list[str]:
    found = [
        f"{t(f'field_{name}')} {value}" for name in PLAIN if (value := getattr(preset, name)) is not None
    ]
    return [*found, *(f"{lora.name} {lora.weight:g}" for lora in preset.loras or ())]


def kit_lines(t: Text, preset: Preset) -> list[str]:
    fonts = " · ".join(f"{role} {name}" for role, name in preset.fonts.items())
    sizes = " · ".join(f"{name} {width} × {height}" for name, (width, height) in preset.sizes.items())
    policies = ", ".join(t(f"policy_{name}_{value}") for name, value in preset.policies.told().items())
    return [
        t("kit_fonts", names=fonts) if fonts else "",
        t("kit_sizes", sizes=sizes) if sizes else "",
        t("kit_policies", names=policies) if policies else "",
    ]


def swatches(t: Text, preset: Preset) -> list[Markup]:
    return [
        element(
            "li",
            element("i", style=f"background:{colour}", class_="swatch"),
            " · ".join(filter(None, (f"{name} {colour}", role_of(t, preset, name)))),
        )
        for name, colour in preset.palette.items()
    ]


def role_of(t: Text, preset: Preset, colour: str) -> str:
    return t(f"role_{preset.roles[colour]}") if colour in preset.roles else ""


def samples(t: Text, preset: Preset, missing: Sequence[str]) -> Markup | None:
    shown = [
        element(
            "img", src=f"/api/v1/kits/samples/{quote(name)}", alt=t("kit_sample", name=name), loading="lazy"
        )
        for name in preset.samples
        if name not in missing
    ]
    return element("div", *shown, class_="brand-samples", aria_label=t("kit_samples")) if shown else None


def with_samples(text: str, files: Sequence[str]) -> str:
    """The brand file with `files` among its samples, all else as it was typed.

    A list that is written over several lines stays as it is: who wrote it so adds the line.
    """
    there = re.search(r"(?m)^samples:[ ]*\[([^\]\n]*)\]", text)
    if there is not None:
        told = [name.strip() for name in there[1].split(",") if name.strip()]
        names = ", ".join([*told, *(file for file in files if file not in told)])
        return f"{text[: there.start()]}samples: [{names}]{text[there.end() :]}"
    return text if re.search(r"(?m)^samples:", text) else _with_line(text, f"samples: [{', '.join(files)}]")


def with_logo(text: str, file: str) -> str:
    """The brand file with `file` as its logo; one that has a logo stays as it is."""
    has = re.search(r"(?m)^logo:", text)
    return text if has else _with_line(text, f"logo: {{light: {file}, dark: {file}}}")


def _with_line(text: str, line: str) -> str:
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"
