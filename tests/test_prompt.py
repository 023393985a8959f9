from __future__ import annotations

import random
import re
import sys

import pytest

from studio import prompt
from studio.errors import BadRequest
from studio.prompt import MAX_DEPTH, LoraTag, parse


def spans(text: str) -> list[tuple[str, float]]:
    (section,) = parse(text).sections
    return [(span.text, round(span.weight, 6)) for span in section]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", [("", 1)]),
        ("a red mug, on: blue (", [("a red mug, on: blue ", 1)]),
        ("a (red) mug", [("a ", 1), ("red", 1.1), (" mug", 1)]),
        ("((red))", [("red", 1.21)]),
        ("[red]", [("red", round(1 / 1.1, 6))]),
        ("(red:1.3)", [("red", 1.3)]),
        ("(red: 1.3 )", [("red", 1.3)]),
        ("(red:.5)(blue:-1)", [("red", 0.5), ("blue", -1)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3), (" c", 1.5)]),
        ("([a])", [("a", 1)]),
        ("(a [b) c] d", [("a ", 1.1), ("b", 1), (" c", round(1 / 1.1, 6)), (" d", 1)]),
        (r"a \(b\) \[c\] \\ d", [("a (b) [c] \\ d", 1)]),
        (r"(a \(b\):1.2)", [("a (b)", 1.2)]),
        ("back\\slash", [("back\\slash", 1)]),
        ("(a (b", [("a ", 1.1), ("b", 1.21)]),
        ("(a:1.3", [("a:1.3", 1.1)]),
        ("a:1.3) b]", [("a:1.3) b]", 1)]),
        ("(ratio 16:9)", [("ratio 16", 9)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("()", [("", 1)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("cat AND dog", [("cat AND dog", 1)]),
        ("[cat:dog:0.5]", [("cat:dog:0.5", round(1 / 1.1, 6))]),
        ("[cat|dog]", [("cat|dog", round(1 / 1.1, 6))]),
        ("a # note (with:1.5) marks\nb", [("a \nb", 1)]),
        (r"number \#1", [("number #1", 1)]),
        ("a mug in #C8102E red", [("a mug in #C8102E red", 1)]),
        ("red<lora:x>mug (a:<b:c>1.3)", [("red mug ", 1), ("a", 1.3)]),
        ("a <hypernet:x:1>b <wildcard:y>", [("a b ", 1)]),
        ("1 < 2 > 0 <3", [("1 < 2 > 0 <3", 1)]),
        ("红色 (杯子:1.2)，白底", [("红色 ", 1), ("杯子", 1.2), ("，白底", 1)]),
    ],
)
def test_weights_follow_the_grammar(text: str, wanted: list[tuple[str, float]]) -> None:
    assert spans(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a BREAK b", [["a"], ["b"]]),
        ("a\nBREAK\nb BREAK c", [["a"], ["b"], ["c"]]),
        ("(a BREAK b:1.2) c", [["a"], ["b", " c"]]),
        ("BREAK a", [[""], ["a"]]),
        ("a BREAK", [["a"], [""]]),
        ("BREAKFAST break JAILBREAK", [["BREAKFAST break JAILBREAK"]]),
    ],
)
def test_break_splits_sections(text: str, wanted: list[list[str]]) -> None:
    assert [[span.text for span in section] for section in parse(text).sections] == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<lora:neon>", LoraTag("neon", 1, 1)),
        ("<lora:neon:0.8>", LoraTag("neon", 0.8, 0.8)),
        ("<lora:neon:0.8:0.3>", LoraTag("neon", 0.8, 0.3)),
        ("<lora:neon:0.8:0.3:8>", LoraTag("neon", 0.8, 0.3)),
        ("<lora:neon:te=0.1:unet=-0.5>", LoraTag("neon", 0.1, -0.5)),
        ("<lora:neon:unet=0.5:dyn=4>", LoraTag("neon", 1, 0.5)),
        ("<LoRA: my style :0.8>", LoraTag("my style", 0.8, 0.8)),
    ],
)
def test_lora_tags_are_taken_out(text: str, wanted: LoraTag) -> None:
    found = parse(f"a {text} mug")
    assert found.loras == (wanted,) and found.text == "a  mug"
    assert [span.text for section in found.sections for span in section] == ["a  mug"]


def test_the_text_keeps_its_markup_without_tags_and_comments() -> None:
    assert parse(r"(red:1.2) \(x\) <lora:a:1># note").text == r"(red:1.2) \(x\) "


def test_text_without_markup_comes_back_as_it_is() -> None:
    text = "Ein roter Becher, 40 % größer: „neu“! 红色杯子 \u202e e\u0301 👩\u200d🎨"
    assert spans(text) == [(text, 1)]


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("(a:nan)", 3),
        ("(a:inf)", 3),
        ("see (a:-Infinity)", 7),
        ("(a:1e309)", 3),
        ("(a:101)", 3),
        ("((a:90):90)", 3),
        ("# note\nx<y:z> (a:nan)", 17),
        ("<lora:x:nan>", 1),
        ("a <lora:x:1e309>", 3),
        ('<lora:x:1,0>', 1),
        ("<lora:x:>", 1),
        ("<lora: :1>", 1),
        ("a" + "(" * (MAX_DEPTH + 1), MAX_DEPTH + 2),
        ("(" * 5000, MAX_DEPTH + 1),
        ("[" * 5000, MAX_DEPTH + 1),
        ("([" * 2500, MAX_DEPTH + 1),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_column(text: str, column: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert f"at column {column}" in caught.value.message
    assert caught.value.field == "prompt" and caught.value.hint


def test_a_refusal_names_the_field_it_was_asked_for() -> None:
    with pytest.raises(BadRequest) as caught:
        parse("(a:nan)", field="negative_prompt")
    assert caught.value.field == "negative_prompt"


def test_depth_up_to_the_limit_is_read() -> None:
    assert spans("(" * MAX_DEPTH + "a") == [("a", round(1.1**MAX_DEPTH, 6))]


def test_a_text_over_the_limit_is_refused_with_its_length() -> None:
    with pytest.raises(BadRequest, match="20001 characters; 20000 fit"):
        parse("a" * 20_001)


ALPHABET = [*"()[]:\\<>#\n -a红|", "BREAK", "BRE", "AK", "lora", "<a:b>", "1.3", "nan", "#C8102E"]


def test_random_texts_are_read_or_refused_and_lose_no_plain_word() -> None:
    draw = random.Random(5)
    refused = 0
    for _ in range(5000):
        text = "".join(draw.choices(ALPHABET, k=draw.randrange(60)))
        try:
            found = parse(text)
        except BadRequest as error:
            refused += 1
            assert "column" in error.message
            continue
        assert all(abs(span.weight) <= prompt.MAX_WEIGHT for section in found.sections for span in section)
        assert all(found.sections)
        again = parse(found.text)
        assert (again.sections, again.text, again.loras) == (found.sections, found.text, ())
        said = "".join(span.text for section in found.sections for span in section)
        assert said.count("红") == found.text.count("红")
    assert refused < 2500


HOSTILE = [
    "(", ")", "[", "]", "()", ":", "(:", ":1", ":" + "1" * 50, ": ", "\\", "<", "<a:", "<lora:a", "#", "# ",
    "BREAK", "x<a:b>", "#C8102E",
    "BREAK ", " ", "(a:1.1) ", "{a|b}", "[a:b:0.5]", "<a:b>", ":1 ", ":nan", "\\(", "a" * 30,
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_length_only(unit: str) -> None:
    """Counted in lines of Python run and in what the pattern looks at, not in seconds."""

    def lines(length: int) -> int:
        count = 0

        def trace(*_: object) -> object:
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            parse((unit * length)[:length])
        except BadRequest:
            pass
        finally:
            sys.settrace(before)
        return count

    short, long = lines(2_000), lines(8_000)
    assert long < 4.5 * short + 200


def test_the_patterns_never_try_anything_twice() -> None:
    """Every repetition is possessive: a token that fails has been looked at once."""
    for pattern in (prompt._TOKEN.pattern, prompt._ASIDE.pattern):
        bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\(\?", "x", pattern)  # without escapes, classes, group marks
        assert re.findall(r"[*+?](?!\+)", re.sub(r"[*+?}]\+", "", bare)) == []
