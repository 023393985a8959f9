"""The page's words in the language of who looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studio.ui.words import WORDS

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}


@dataclass(frozen=True)
class Text:
    """The page's words in one language: `text("left", seconds=3)`."""

    language: str

    def __call__(self, key: str, **figures: object) -> str:
        sentence = WORDS[key][self.language == "zh"]
        return sentence.format(**figures) if figures else sentence

    def pick(self, english: str, chinese: str) -> str:
        """The right one of a catalog row's two sentences."""
        return chinese if self.language == "zh" else english
