"""Words that a prompt must not or must hold, whoever asks and by whatever door.

A word is looked for as readers see it: case, accents, width, invisible characters and look-alike letters of
other alphabets make no difference (Unicode TR 36 and 39). It counts between word boundaries; in scripts that
are written without spaces, anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from studio.errors import BadRequest

MOST_RULES = 2_000
LONGEST = 80  # characters of one
# Cyrillic and Greek letters that are drawn as Latin ones.
LOOKALIKES = str.maketrans("авеіјкмнорсԛѕтухԝαβεικνορτυχ", "abeijkmhopcqstyxwabeiknoptux")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
WORD = re.compile(r"[^\W_]+")


Policy = Literal["flag", "blur", "block"]
LISTS = ("banned", "required")
CHECKS = ("protected", "safety")


@dataclass(frozen=True)
class Rules:
    """`source` is named in a refusal: "this studio", or a brand.

    `protected`, `safety`: what happens to a picture in which that check finds something.
    """

    source: str
    banned: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    protected: Policy = "flag"
    safety: Policy = "flag"
    _banned: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _longest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {normal(rule): rule for rule in self.banned}
        object.__setattr__(self, "_banned", known)
        object.__setattr__(self, "_longest", max((rule.count(" ") + 1 for rule in known), default=0))

    def check(self, prompt: str) -> None:
        """`prompt` without emphasis and tags. Raises BadRequest (`banned_word`, `required_word`)."""
        rule = self.banned_in(prompt)
        if rule is not None:
            raise BadRequest(
                f"The word {rule!r} is not allowed: a rule of {self.source}.",
                hint="Take it out of the prompt, or ask whoever keeps the rules.",
                field="prompt",
                code="banned_word",
            )
        missing = self.missing_in(prompt)
        if missing:
            raise BadRequest(
                f"The prompt lacks {', '.join(map(repr, missing))}: a rule of {self.source}.",
                hint="Add it to the prompt.",
                field="prompt",
                code="required_word",
            )

    def missing_in(self, prompt: str) -> list[str]:
        """Required words that it does not hold."""
        words = normal(prompt).split()
        return [rule for rule in self.required if not _holds(words, normal(rule))]

    def banned_in(self, prompt: str) -> str | None:
        """The first banned word in it."""
        words = normal(prompt).split()
        for start in range(len(words)):
            for length in range(1, min(self._longest, len(words) - start) + 1):
                rule = self._banned.get(" ".join(words[start : start + length]))
                if rule is not None:
                    return rule
        text = " ".join(words)
        unspaced = ((key, rule) for key, rule in self._banned.items() if UNSPACED.search(key))
        return next((rule for key, rule in unspaced if key in text), None)


def _holds(words: list[str], rule: str) -> bool:
    text = f" {' '.join(words)} "
    return rule in text if UNSPACED.search(rule) else f" {rule} " in text


def normal(text: str) -> str:
    """Words as they look, parted by single spaces."""
    flat = unicodedata.normalize("NFKD", text).casefold()
    seen = (letter for letter in flat if unicodedata.category(letter) not in ("Mn", "Cf", "Cc"))
    return " ".join(WORD.findall(unicodedata.normalize("NFC", "".join(seen)).translate(LOOKALIKES)))


def read_rules(file: Path, source: str) -> Rules:
    """YAML: lists `banned` and `required`, `protected` and `safety`: flag, blur or block. No file, no rules.

    Raises BadRequest with the line.
    """
    if not file.is_file():
        return Rules(source)
    try:
        told = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except (MarkedYAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise _bad(file, f"is not readable YAML{where}") from None
    if not isinstance(told, dict) or not set(told) <= {*LISTS, *CHECKS}:
        raise _bad(file, "may have the lists banned and required, protected and safety, and nothing else")
    policies = {name: told.get(name, "flag") for name in CHECKS}
    for name, policy in policies.items():
        if policy not in get_args(Policy):
            raise _bad(file, f"says {name}: {str(policy)[:40]!r}; it is flag, blur or block")
    banned, required = (_words(file, name, told.get(name) or []) for name in LISTS)
    return Rules(source, banned, required, **policies)


def _words(file: Path, name: str, told: Iterable[Any]) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(word, str) for word in told):
        raise _bad(file, f"has a list {name} that is not one of words (quote numbers, and yes and no)")
    if len(told) > MOST_RULES or any(len(word) > LONGEST or not normal(word) for word in told):
        raise _bad(file, f"may hold {MOST_RULES} words of 1 to {LONGEST} characters in {name}")
    return tuple(told)


def _bad(file: Path, what: str) -> BadRequest:
    return BadRequest(
        f"{file.name} {what}.", hint="Write banned: [word, two words].", field="rules", code="bad_rules"
    )
