"""Word rules: what is found however it is written, what is not, and bad files."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import BadRequest
from studio.safety.rules import Rules, normal, read_rules

RULES = Rules("this studio", banned=("cigarette", "Mickey Mouse", "香烟", "naïve"))

FOUND = [
    "a cigarette on a table",
    "A CIGARETTE!",
    "ｃｉｇａｒｅｔｔｅ",  # full width
    "cig\u200barette",  # zero-width space
    "cigar\u0301ette",  # combining accent
    "сigаrеttе",  # Cyrillic look-alikes
    "mickey   mouse, glossy",
    "mickey-mouse",
    "一包香烟，红色背景",
    "naive",
]
FREE = ["cigarettes", "a mouse of Mickey", "a red mug", "", "香 港"]


@pytest.mark.parametrize("prompt", FOUND)
def test_a_banned_word_is_found_however_it_is_written(prompt: str) -> None:
    with pytest.raises(BadRequest, match="a rule of this studio") as refusal:
        RULES.check(prompt)
    assert refusal.value.code == "banned_word" and refusal.value.field == "prompt"


@pytest.mark.parametrize("prompt", FREE)
def test_other_words_are_let_through(prompt: str) -> None:
    RULES.check(prompt)


def test_a_required_word_is_missed() -> None:
    rules = Rules("brand Acme", required=("acme red", "红色"))
    with pytest.raises(BadRequest, match="lacks '红色'") as refusal:
        rules.check("a mug in Acme Red")
    assert refusal.value.code == "required_word"
    rules.check("Acme red, 红色的杯子")


def test_rules_are_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    assert read_rules(file, "x") == Rules("x")
    file.write_text("banned: [gun, 'yes']\nrequired: []\n")
    assert read_rules(file, "x") == Rules("x", banned=("gun", "yes"))


@pytest.mark.parametrize(
    "text",
    [
        "banned: [a",
        "- a",
        "banned: a",
        "banned: [1]",
        "other: []",
        "banned: ['..']",
        f"banned: [{'a' * 81}]",
        "\x80",
    ],
)
def test_bad_rules_are_refused_with_their_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadRequest, match="rules.yaml") as refusal:
        read_rules(file, "x")
    assert str(tmp_path) not in refusal.value.message


def test_a_long_prompt_is_checked_in_linear_time() -> None:
    assert len(normal("ab " * 20_000).split()) == 20_000
    RULES.check("mickey " * 20_000)
