"""Prompts that are drawn: the notation, its limits, files, and what a job keeps of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio import wildcards
from studio.errors import BadRequest, NotFound, StudioError, TooLarge
from studio.prompt import parse
from studio.safety.rules import Rules
from studio.schema import GenerationRequest
from studio.studio import Studio
from studio.ui.create import remade
from studio.wildcards import MAX_DEPTH, MAX_LINES, MAX_PICKS, Template, Wildcards

FILES = {
    "colours": ("red", "blue", "{dark|light} green"),
    "shop/things": ("__colours__ mug", "cap"),
    "loop": ("a __loop__",),
}


def drawn(text: str, seed: int = 0) -> str:
    return Template(text).draw(seed, lambda name: FILES[name])


def seen(text: str) -> set[str]:
    return {drawn(text, seed) for seed in range(200)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a {red|blue} mug", {"a red mug", "a blue mug"}),
        ("{ red | blue }", {"red", "blue"}),
        ("{a|{b|c} d}", {"a", "b d", "c d"}),
        ("a {|red} mug", {"a  mug", "a red mug"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{5$$a|b}", {"a, b", "b, a"}),
        ("{1-2$$ and $$a|b}", {"a", "b", "a and b", "b and a"}),
        ("__colours__", {"red", "blue", "dark green", "light green"}),
        ("__shop/things__", {"red mug", "blue mug", "dark green mug", "light green mug", "cap"}),
        ("({red|blue}:1.2) mug", {"(red:1.2) mug", "(blue:1.2) mug"}),
        ("{x {a|b}", {"{x a", "{x b"}),
    ],
)
def test_every_choice_is_drawn_and_nothing_else(text: str, wanted: set[str]) -> None:
    assert seen(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "a red mug", "{red} mug", '{"a": 1}', "a | b", "{a|b", "a} | {b", r"\{a|b\}", r"\__colours__", "____",
        "a_b__c", "${season=winter}",
    ],
)  # fmt: skip
def test_a_text_without_a_choice_is_left_as_it_is(text: str) -> None:
    assert not Template(text).draws and drawn(text) == text


@pytest.mark.parametrize("text", ["{a|b} \\{c|d\\}", "__shop/things__ {x", "{2$$a|b|c} \\__colours__"])
def test_what_was_drawn_draws_itself(text: str) -> None:
    for seed in range(20):
        once = drawn(text, seed)
        assert drawn(once, seed + 1) == once


def test_a_seed_draws_the_same_on_every_machine() -> None:
    """Python promises the sequence of `random()`, and of nothing else, for all its versions."""
    text = "{a|b|c|d|e} {a|b|c|d|e} __shop/things__ {2$$x|y|z}"
    assert [drawn(text, seed) for seed in range(3)] == [
        "e d red mug y, x", "a e cap x, y", "e e red mug z, y",
    ]  # fmt: skip


def test_backslashes_are_gone_where_the_prompt_is_read() -> None:
    (section,) = parse(r"a \{b\|c\} \__d\__").sections
    assert "".join(span.text for span in section) == "a {b|c} __d__"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("__loop__", "wildcard_depth"),
        ("{" * (MAX_DEPTH + 1) + "a|b", "wildcard_depth"),
        ("{a|b}" * (MAX_PICKS + 1), "wildcard_picks"),
        ("{" + "x" * 10_001 + "|" + "y" * 10_001 + "}", "bad_length"),
    ],
)
def test_limits_are_told_with_a_code(text: str, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        drawn(text)
    assert caught.value.code == code and caught.value.field == "prompt"


@pytest.fixture
def files(tmp_path: Path) -> Wildcards:
    folder = tmp_path / "wildcards"
    (folder / "shop").mkdir(parents=True)
    (folder / "colours.txt").write_text("\ufeffred\n\n# a note\n  blue  \n", encoding="utf-8")
    (folder / "shop" / "产品.txt").write_text("杯子\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret\n")
    return Wildcards(folder)


def test_lines_are_read_without_notes_and_blanks(files: Wildcards) -> None:
    assert files.lines("colours") == ("red", "blue") and files.lines("shop/产品") == ("杯子",)
    assert [(row.name, row.lines) for row in files.list()] == [("colours", 2), ("shop/产品", 1)]


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "shop/../../secret",
        "/etc/passwd",
        "colours.txt",
        ".hidden",
        "a//b",
        "a*",
        "a/b/c/d/e",
        "",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(files: Wildcards, name: str) -> None:
    for verb in (files.lines, files.delete, lambda name: files.put(name, "x")):
        with pytest.raises(BadRequest) as caught:
            verb(name)
        assert caught.value.code == "bad_wildcard_name"


def test_a_link_out_of_the_folder_is_not_followed(files: Wildcards, tmp_path: Path) -> None:
    (tmp_path / "wildcards" / "out.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(NotFound):
        files.lines("out")
    assert "out" not in files.names()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "wildcard_empty"),
        (b"# only a note\n\n", "wildcard_empty"),
        (b"\xff\xfe\x00", "bad_wildcard"),
        (b"x\n" * (MAX_LINES + 1), "wildcard_too_large"),
        (b"x" * (wildcards.MAX_BYTES + 1), "wildcard_too_large"),
    ],
)
def test_a_file_that_cannot_be_drawn_from_says_why(
    files: Wildcards, tmp_path: Path, content: bytes, code: str
) -> None:
    (tmp_path / "wildcards" / "bad.txt").write_bytes(content)
    with pytest.raises((BadRequest, TooLarge)) as caught:
        files.lines("bad")
    assert caught.value.code == code
    assert [row.lines for row in files.list() if row.name == "bad"] == [0]


def test_a_missing_file_names_the_nearest_and_how_to_mean_the_text(files: Wildcards) -> None:
    with pytest.raises(NotFound) as caught:
        files.draw("a __colour__ mug", 1)
    assert caught.value.code == "wildcard_not_found"
    assert "colours" in caught.value.hint and r"\__colour__" in caught.value.hint


def test_files_are_put_and_deleted(files: Wildcards) -> None:
    assert files.put("new/moods", "calm\nloud\n").lines == 2
    assert files.lines("new/moods") == ("calm", "loud")
    files.delete("new/moods")
    with pytest.raises(NotFound):
        files.lines("new/moods")


# --- in a job ---


def test_each_picture_of_a_job_has_the_prompt_of_its_own_seed(studio: Studio) -> None:
    studio.wildcards.put("colours", "red\nblue\ngreen\nwhite\n")
    text = "a __colours__ {mug|cap|lamp}"
    asked = GenerationRequest(prompt=text, steps=2, seed=4_294_967_294, count=4)
    job = studio.wait(studio.submit(asked).id)
    prompts = [image.request.prompt for image in job.images]
    assert len(set(prompts)) > 1 and job.request.prompts == tuple(prompts)
    assert job.request.template == text and job.request.prompt == prompts[0]
    for image in job.images:
        assert image.request.template == text and image.request.prompts == ()
        alone = studio.resolve(asked.model_copy(update={"seed": image.seed, "count": 1}))
        assert alone.prompt == image.request.prompt
        assert studio.replay(image.id).verdict == "identical"
        assert remade(image, "vary").prompt == image.request.prompt
        found = studio.recover(studio.picture_bytes(image.id)[0])
        assert found.fields["prompt"] == image.request.prompt and not found.unmatched


def test_what_was_drawn_stays_when_the_file_changes(studio: Studio) -> None:
    studio.wildcards.put("colours", "red\n")
    asked = GenerationRequest(prompt="a __colours__ mug", steps=2, seed=5)
    first = studio.wait(studio.submit(asked, key="one").id)
    studio.wildcards.put("colours", "blue\n")
    assert studio.submit(asked, key="one").id == first.id
    second = studio.wait(studio.submit(asked).id)
    assert second.request.prompt == "a blue mug" and not second.cached
    assert studio.replay(first.images[0].id).verdict == "identical"
    again = studio.submit(asked)
    assert again.cached and again.images[0].id == second.images[0].id


def test_a_job_that_is_taken_up_again_keeps_each_pictures_prompt(studio: Studio) -> None:
    from studio.jobs.parts import missing

    request = studio.resolve(GenerationRequest(prompt="{a|b|c|d} mug", seed=7, count=5))
    parts = missing(request, {0, 2})
    found = [
        (part.first + i, part.request.of_picture(i).prompt)
        for part in parts
        for i in range(part.request.count)
    ]
    assert found == [(index, request.prompts[index]) for index in (1, 3, 4)]


def test_words_that_a_wildcard_brings_are_ruled_too(studio: Studio) -> None:
    studio.requests._rules = Rules("this studio", banned=("cigarette",))
    studio.wildcards.put("things", "cigarette\n")
    with pytest.raises(BadRequest) as caught:
        studio.submit(GenerationRequest(prompt="a __things__"))
    assert caught.value.code == "banned_word"


def test_styles_in_braces_go_with_one_picture_and_not_with_different_stacks(
    studio: Studio, home: Path
) -> None:
    text = "a mug {<lora:neon:1>|<lora:nordic:1>}"
    names = {studio.resolve(GenerationRequest(prompt=text, seed=seed)).loras[0].name for seed in range(8)}
    assert names == {"neon", "nordic"}
    with pytest.raises(BadRequest) as caught:
        studio.resolve(GenerationRequest(prompt=text, seed=1, count=8))
    assert caught.value.code == "wildcard_loras"


def test_a_request_without_wildcards_is_kept_as_it_was_before_there_were_any(studio: Studio) -> None:
    """Marks of pictures and cache keys are hashes of it."""
    resolved = studio.resolve(GenerationRequest(prompt="a {red} mug | x", seed=1, count=2))
    assert not {"template", "prompts"} & set(resolved.model_dump())
    assert not {"template", "prompts"} & set(resolved.model_dump(mode="json"))


def test_a_brands_frame_may_draw_as_well(studio: Studio, home: Path) -> None:
    folder = home / "presets"
    folder.mkdir(exist_ok=True)
    (folder / "acme.yaml").write_text("version: 1\nprompt: '{prompt}, {day|night} light'\n")
    found = {
        studio.resolve(GenerationRequest(prompt="a mug", preset="acme", seed=s)).prompt for s in range(9)
    }
    assert found == {"a mug, day light", "a mug, night light"}


def test_an_unknown_file_stops_the_request_before_it_is_queued(studio: Studio) -> None:
    with pytest.raises(StudioError) as caught:
        studio.submit(GenerationRequest(prompt="a __nothing__"))
    assert caught.value.status == 404 and studio.jobs_list() == []
