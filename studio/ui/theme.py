"""The look: every Gradio colour is one of the few of assets/css/page.css, where light and dark are set."""

from __future__ import annotations

from typing import Any

import gradio as gr

FONT = (
    "-apple-system",
    "BlinkMacSystemFont",
    "Segoe UI",
    "Inter",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "system-ui",
    "sans-serif",
)
MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "monospace")

_COLOURS = {
    "body_background_fill": "--ground",
    "body_text_color": "--ink",
    "body_text_color_subdued": "--quiet",
    "background_fill_primary": "--panel",
    "background_fill_secondary": "--ground",
    "border_color_primary": "--line",
    "border_color_accent": "--accent",
    "border_color_accent_subdued": "--line",
    "color_accent_soft": "--accent-soft",
    "link_text_color": "--accent",
    "link_text_color_hover": "--accent",
    "link_text_color_active": "--accent",
    "link_text_color_visited": "--accent",
    "block_background_fill": "--none",
    "block_border_color": "--none",
    "block_label_background_fill": "--none",
    "block_label_text_color": "--quiet",
    "block_title_text_color": "--quiet",
    "block_info_text_color": "--quiet",
    "panel_background_fill": "--none",
    "input_background_fill": "--panel",
    "input_background_fill_focus": "--panel",
    "input_border_color": "--line",
    "input_border_color_focus": "--accent",
    "input_border_color_hover": "--line-strong",
    "input_placeholder_color": "--faint",
    "slider_color": "--accent",
    "loader_color": "--accent",
    "checkbox_background_color": "--panel",
    "checkbox_background_color_selected": "--accent",
    "checkbox_background_color_focus": "--panel",
    "checkbox_background_color_hover": "--panel",
    "checkbox_border_color": "--line-strong",
    "checkbox_border_color_selected": "--accent",
    "checkbox_border_color_focus": "--accent",
    "checkbox_border_color_hover": "--accent",
    "checkbox_label_background_fill": "--panel",
    "checkbox_label_background_fill_hover": "--hover",
    "checkbox_label_background_fill_selected": "--accent-soft",
    "checkbox_label_border_color": "--line",
    "checkbox_label_border_color_hover": "--line-strong",
    "checkbox_label_text_color": "--ink",
    "checkbox_label_text_color_selected": "--accent",
    "button_primary_background_fill": "--accent",
    "button_primary_background_fill_hover": "--accent-deep",
    "button_primary_border_color": "--accent",
    "button_primary_border_color_hover": "--accent-deep",
    "button_primary_text_color": "--on-accent",
    "button_primary_text_color_hover": "--on-accent",
    "button_secondary_background_fill": "--panel",
    "button_secondary_background_fill_hover": "--hover",
    "button_secondary_border_color": "--line",
    "button_secondary_border_color_hover": "--line-strong",
    "button_secondary_text_color": "--ink",
    "button_secondary_text_color_hover": "--ink",
    "button_cancel_background_fill": "--panel",
    "button_cancel_background_fill_hover": "--hover",
    "button_cancel_border_color": "--line-strong",
    "button_cancel_border_color_hover": "--line-strong",
    "button_cancel_text_color": "--ink",
    "button_cancel_text_color_hover": "--ink",
    "table_border_color": "--line",
    "table_even_background_fill": "--none",
    "table_odd_background_fill": "--none",
    "error_background_fill": "--panel",
    "error_border_color": "--warn",
    "error_text_color": "--ink",
    "error_icon_color": "--warn",
    "accordion_text_color": "--ink",
}

_SIZES = {
    "color_accent": "var(--accent)",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_padding": "0px",
    "block_radius": "0px",
    "block_label_border_width": "0px",
    "block_label_shadow": "none",
    "block_title_text_size": "13px",
    "block_title_text_weight": "500",
    "block_label_text_size": "13px",
    "block_info_text_size": "12px",
    "form_gap_width": "0px",
    "layout_gap": "16px",
    "panel_border_width": "0px",
    "input_border_width": "1px",
    "input_radius": "10px",
    "input_padding": "9px 12px",
    "input_shadow": "none",
    "input_shadow_focus": "0 0 0 3px var(--accent-soft)",
    "input_text_size": "14px",
    "body_text_size": "14px",
    "checkbox_label_padding": "6px 10px",
    "checkbox_label_gap": "6px",
    "checkbox_label_text_size": "13px",
    "checkbox_label_shadow": "none",
    "button_border_width": "1px",
    "button_large_radius": "10px",
    "button_large_padding": "10px 16px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_medium_radius": "10px",
    "button_small_radius": "8px",
    "button_small_text_size": "13px",
    "button_small_text_weight": "500",
    "button_primary_shadow": "none",
    "button_primary_shadow_hover": "none",
    "button_primary_shadow_active": "none",
    "button_secondary_shadow": "none",
    "button_transform_hover": "none",
    "button_transform_active": "none",
}


def theme() -> Any:
    """System fonts only: a web font would be a request to somebody else's machine."""
    base = gr.themes.Base(font=FONT, font_mono=MONO, radius_size="md", spacing_size="md", text_size="md")
    settable = gr.themes.Base.set.__kwdefaults__
    values = dict(_SIZES)
    for name, colour in _COLOURS.items():
        values[name] = f"var({colour})"
        if f"{name}_dark" in settable:
            values[f"{name}_dark"] = f"var({colour})"
    for name in _SIZES:
        if f"{name}_dark" in settable:
            values[f"{name}_dark"] = _SIZES[name]
    return base.set(**values)
