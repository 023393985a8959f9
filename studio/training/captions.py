"""Captions beside pictures: same-stem .txt files, CSV tables, and the trigger word put into them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from studio.schema import MAX_PROMPT
from studio.training.archive import Member

FILE_COLUMNS = ("file_name", "filename", "file", "image", "picture", "name")
TEXT_COLUMNS = ("text", "caption", "prompt", "description")
PLACEHOLDER = re.compile(r"\[(?:trigger|name)\]", re.IGNORECASE)  # as ai-toolkit's data sets have it
_FOLDER = re.compile(r"(\d{1,3})_(.+)")  # as kohya's data sets have it: 10_name


@dataclass
class Captions:
    """`by_stem`: a picture's name without its ending -> caption. `problems`: file name -> what is wrong."""

    by_stem: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def of(self, picture: str) -> str:
        """The caption of a picture by its name; else the words of a kohya folder `10_words`; else ''."""
        path = PurePosixPath(picture)
        for stem in (str(path.with_suffix("")), path.stem):
            if stem in self.by_stem:
                return self.by_stem[stem]
        named = _FOLDER.fullmatch(path.parent.name)
        return named[2].replace("_", " ") if named else ""


def repeats_of(picture: str) -> int:
    """How often a picture is shown an epoch: kohya's folder `10_words` says 10."""
    named = _FOLDER.fullmatch(PurePosixPath(picture).parent.name)
    return max(1, int(named[1])) if named else 1


def read_captions(files: Sequence[Member], pictures: Sequence[str]) -> Captions:
    """From .txt, .caption and .csv files. A .txt goes before a table; one without a picture is a problem."""
    found = Captions()
    stems = {str(PurePosixPath(name).with_suffix("")) for name in pictures}
    tables = [file for file in files if file.suffix == ".csv"]
    for file in [*tables, *(file for file in files if file.suffix != ".csv")]:
        text = _text(file)
        if text is None:
            found.problems[file.name] = "caption_unreadable"
        elif file.suffix == ".csv":
            _read_table(file, text, stems, found)
        elif file.stem not in stems:
            found.problems[file.name] = "caption_orphan"
        elif len(text) > MAX_PROMPT:
            found.problems[file.name] = "caption_too_long"
        else:
            found.by_stem[file.stem] = " ".join(text.split())
    return found


def with_trigger(caption: str, trigger: str) -> str:
    """The trigger in place of `[trigger]`, else at the end; once, also where the caption has it already."""
    if PLACEHOLDER.search(caption):
        return " ".join(PLACEHOLDER.sub(lambda _: trigger, caption).split()).strip(" ,")
    if not trigger or trigger.casefold() in caption.casefold():
        return caption
    return f"{caption}, {trigger}" if caption else trigger


def _text(file: Member) -> str | None:
    if file.data is None:
        return None
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _read_table(file: Member, text: str, stems: set[str], found: Captions) -> None:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error:
        rows = []
    if not rows:
        found.problems[file.name] = "caption_unreadable"
        return
    folded = {str(column).strip().casefold(): column for column in rows[0]}
    names = next((folded[name] for name in FILE_COLUMNS if name in folded), None)
    texts = next((folded[name] for name in TEXT_COLUMNS if name in folded), None)
    if names is None or texts is None:
        found.problems[file.name] = "caption_columns"
        return
    folder = PurePosixPath(file.name).parent
    for row in rows:
        _take_row(row, names, texts, folder, stems, found)


def _take_row(
    row: Mapping[str, str | None],
    names: str,
    texts: str,
    folder: PurePosixPath,
    stems: set[str],
    found: Captions,
) -> None:
    name, caption = str(row[names] or "").strip(), " ".join(str(row[texts] or "").split())
    if not name:
        return
    stem = str((folder / name).with_suffix(""))
    if stem not in stems:
        found.problems[name[:200]] = "caption_orphan"
    elif len(caption) > MAX_PROMPT:
        found.problems[name[:200]] = "caption_too_long"
    elif caption:
        found.by_stem[stem] = caption
