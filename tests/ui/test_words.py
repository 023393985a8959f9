"""Words and markup of the page, without a browser."""

from __future__ import annotations

import re
import string

from studio.settings import ROOT
from studio.ui.canny import proportioned
from studio.ui.html import element
from studio.ui.parts import stacked, unstacked
from studio.ui.sizes import ratio
from studio.ui.text import WORDS, Text

SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "studio" / "ui").glob("*.py"))
)
BUILT = (  # made from a prefix
    "tab_", "field_", "state_", "stack_", "schedulers_", "loras_", "models_", "train_", "check_", "shot_",
    "product_", "ground_", "noted_",
    "role_", "policy_", "rules_", "axis_",
)  # fmt: skip


def holes(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def test_both_languages_have_the_same_holes_and_no_empty_sentence() -> None:
    for key, (english, chinese) in WORDS.items():
        assert english and chinese and holes(english) == holes(chinese), key


def test_every_word_is_used_and_every_used_word_is_there() -> None:
    called = set(re.findall(r"""\bt\(\s*["']([a-z_]+)["']""", SOURCES))
    assert called <= set(WORDS)
    quoted = set(re.findall(r"""["']([a-z_]+)["']""", SOURCES))
    assert not [key for key in WORDS if key not in quoted and not key.startswith(BUILT)]


def test_text_is_escaped_and_only_element_makes_markup() -> None:
    inside = element("b", "<i>")
    made = element("p", inside, '<img src=x onerror="a">', title='"><script>', hidden=True, lang=None)
    assert made == (
        '<p title="&quot;&gt;&lt;script&gt;" hidden><b>&lt;i&gt;</b>'
        "&lt;img src=x onerror=&quot;a&quot;&gt;</p>"
    )


def test_a_stack_survives_its_way_to_the_browser_and_back() -> None:
    rows = [{"name": "neon", "weight": 0.5}]
    assert unstacked(stacked(rows, locked=True)) == rows


def test_formats_are_named_as_designers_name_them() -> None:
    assert [ratio(*size) for size in ((128, 128), (160, 128), (128, 192), (1216, 832), (1024, 576))] == [
        "1:1", "5:4", "2:3", "3:2", "16:9",
    ]  # fmt: skip


def test_a_photograph_keeps_its_shape_in_steps_the_network_can_halve() -> None:
    assert proportioned(600, 400, 128) == (160, 112)
    assert proportioned(400, 4000, 512) == (384, 704)  # 1:10 is cropped to 1:2
    assert proportioned(512, 512, 1024) == (1024, 1024)


def test_the_second_language_says_the_same_key() -> None:
    assert Text("en")("generate") == "Generate" and Text("zh")("generate") == "生成"
