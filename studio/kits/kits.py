"""The company's own brand files: checked before they are kept, every version kept, byte for byte as typed."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from studio.errors import Conflict, NotFound, PresetInvalid
from studio.library.files import write_whole
from studio.presets import Preset, Presets, read_preset
from studio.presets.kit import LOGO, SAMPLE
from studio.presets.preset import NAME
from studio.presets.yaml_nodes import MAX_BYTES

HISTORY = "history.jsonl"
Kind = Literal["logos", "samples"]  # folders of pictures beside the brand files
NAMES: Mapping[Kind, re.Pattern[str]] = {"logos": LOGO, "samples": SAMPLE}
LISTED = 100  # newest versions that are shown; all are kept


@dataclass(frozen=True)
class Version:
    """`at`: seconds since 1970. `number` counts from 1 for each preset. `sha256`: of the text."""

    number: int
    by: str
    at: float
    sha256: str


class Kits:
    """`shipped`: read-only brand files. `own`: folder of the company's, which win over shipped ones.

    `kept`: folder of all versions that were ever saved here.
    """

    def __init__(self, presets: Presets, own: Path, shipped: Path, kept: Path) -> None:
        self._presets, self._own, self._shipped, self._kept = presets, own, shipped, kept
        self._saving = threading.Lock()

    def is_own(self, name: str) -> bool:
        return _file(self._own, name).is_file()

    def is_shipped(self, name: str) -> bool:
        return _file(self._shipped, name).is_file()

    def names(self) -> Sequence[str]:
        """Also those whose files have a mistake: here they can be mended."""
        return sorted({*(row.name for row in self._presets.list()), *self._presets.problems()})

    def text(self, name: str) -> str:
        """As it was typed, comments and all. Raises NotFound (`preset_not_found`)."""
        for folder in (self._own, self._shipped):
            file = _file(folder, name)
            if file.is_file() and not file.is_symlink():
                return file.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig", "replace")
        raise NotFound(f"No preset {name[:80]!r}.", field="preset", code="preset_not_found")

    def check(self, name: str, text: str) -> Preset:
        """Raises PresetInvalid, which names line and column."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:  # half of a pair, as JSON and the page can send it
            line = text.count("\n", 0, error.start) + 1
            raise PresetInvalid(f"Line {line}: a character that is none.", hint="Take it out.") from None
        return read_preset(data, name)

    def save(self, name: str, text: str, by: str, base: str | None = None) -> Preset:
        """Keeps the text as the newest version, and uses it. `base`: digest of the text it was made from.

        Raises PresetInvalid, and Conflict (`preset_changed`) where somebody saved another text meanwhile.
        """
        preset = self.check(name, text)
        with self._saving:
            if base is not None and self._there(name) and digest(self.text(name)) != base:
                raise Conflict(
                    f"Preset {name} was changed by somebody else meanwhile.",
                    hint="Load it anew and make your change again, or save yours under another name.",
                    code="preset_changed",
                )
            if not (self.is_own(name) and self.text(name) == text):
                self._note(name, text, by)
                self._own.mkdir(parents=True, exist_ok=True)
                write_whole(_file(self._own, name), text.encode())
        return preset

    def delete(self, name: str) -> None:
        """The company's file goes; its versions stay. A shipped preset it covered is there again.

        Raises NotFound, and Conflict (`preset_builtin`) for a shipped one.
        """
        with self._saving:
            if not self.is_own(name):
                self.text(name)  # raises where there is none at all
                raise Conflict(
                    f"Preset {name} came with the studio and cannot be deleted.",
                    hint="Save a preset of your own under the same name: it is used instead.",
                    code="preset_builtin",
                )
            _file(self._own, name).unlink()

    def logo(self, file: str) -> Path | None:
        return self.picture("logos", file)

    def picture(self, kind: Kind, file: str) -> Path | None:
        """Where a logo or sample lies; the company's own wins. `file`: as a brand file names it."""
        places = (folder / kind / Path(file).name for folder in (self._own, self._shipped))
        return next((place for place in places if place.is_file()), None)

    def add_picture(self, kind: Kind, file: str, data: bytes, replace: bool = False) -> None:
        """`data` was judged. Raises PresetInvalid for a name that no brand file could give, and Conflict
        (`logo_exists`, `sample_exists`) where another picture has it.
        """
        if NAMES[kind].fullmatch(file) is None:
            raise PresetInvalid(
                f"{file[:80]!r} cannot be the name of one of the {kind}.",
                hint="Letters, digits, dashes, underscores, at most 61, and .png (samples also .jpg).",
            )
        there = self.picture(kind, file)
        if there is not None and there.read_bytes() == data:
            return
        if there is not None and not replace:
            one = kind.removesuffix("s")
            raise Conflict(
                f"Another {one} {file[:80]} is there.",
                hint="Replace it, or rename yours.",
                code=f"{one}_exists",
            )
        target = self._own / kind / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        write_whole(target, data)

    def versions(self, name: str) -> Sequence[Version]:
        """Newest first, those of a deleted preset too. Raises NotFound for a name that cannot be one."""
        file = _folder(self._kept, name) / HISTORY
        if not file.is_file():
            return []
        lines = file.read_text(encoding="utf-8").splitlines()
        return [Version(**json.loads(line)) for line in reversed(lines[-LISTED:])]

    def version(self, name: str, number: int) -> str:
        """Raises NotFound (`version_not_found`)."""
        file = _folder(self._kept, name) / f"{number:05d}.yaml"
        if not file.is_file():
            raise NotFound(f"Preset {name} has no version {number}.", code="version_not_found")
        return file.read_text(encoding="utf-8")

    def free_name(self, wanted: str) -> str:
        """`wanted` as a name that no preset has yet."""
        stem = slug(wanted) or "brand"
        taken, name, count = set(self.names()), stem, 2
        while name in taken:
            name, count = f"{stem}-{count}", count + 1
        return name

    def _there(self, name: str) -> bool:
        return self.is_own(name) or self.is_shipped(name)

    def _note(self, name: str, text: str, by: str) -> None:
        """The version first, then its line: a crash in between costs a number, never a text."""
        folder = _folder(self._kept, name)
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(file.stem) for file in folder.glob("*.yaml")), default=0)
        write_whole(folder / f"{number:05d}.yaml", text.encode())
        version = Version(number, by, time.time(), digest(text))
        with (folder / HISTORY).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(version), ensure_ascii=False) + "\n")


def slug(wanted: str) -> str:
    """Small letters, digits and dashes, at most 56; '' where there are none."""
    return re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")[:56].strip("-")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def renamed(text: str, name: str) -> str:
    """The same brand file under another name: only its `name:` line changes."""
    line = f"name: {name}"
    found, count = re.subn(r"(?m)^name:[^\n]*$", line, text, count=1)
    return found if count else re.sub(r"(?m)^(version:[^\n]*)$", rf"\1\n{line}", text, count=1)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{_checked(name)}.yaml"


def _folder(kept: Path, name: str) -> Path:
    return kept / _checked(name)


def _checked(name: str) -> str:
    """A name that can be a file's: nothing else ever reaches a path."""
    if NAME.fullmatch(name) is None:
        raise PresetInvalid(
            f"{name[:80]!r} cannot be a preset's name.", hint="Small letters, digits and dashes, at most 64."
        )
    return name
