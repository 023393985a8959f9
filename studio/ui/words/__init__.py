"""Every word of the page, English and 中文 side by side, so that neither can be forgotten."""

from collections.abc import Mapping

from studio.ui.words.branding import BRANDING
from studio.ui.words.keeping import KEEPING
from studio.ui.words.making import MAKING
from studio.ui.words.placing import PLACING
from studio.ui.words.ruling import RULING
from studio.ui.words.running import RUNNING

WORDS: Mapping[str, tuple[str, str]] = {**MAKING, **KEEPING, **BRANDING, **PLACING, **RULING, **RUNNING}

__all__ = ["WORDS"]
