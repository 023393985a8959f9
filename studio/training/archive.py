"""The files of a folder or a ZIP, one after the other, under limits; names are read and never written to."""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.errors import BadRequest, NotFound, TooLarge

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
WORDS = (".txt", ".caption", ".csv")
MOST_FILES = 5_000
MOST_BYTES = 2 * 2**30  # of all files, unpacked
MOST_WORDS = 2**20  # bytes of one caption file
MOST_RATIO = 200  # unpacked over packed; text packs 10 to 1, a bomb 1000 to 1
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """`name`: with `/` between folders, as the sender has it; only ever shown. None in `data`: too large."""

    name: str
    data: bytes | None

    @property
    def stem(self) -> str:
        """Name without its ending: what a picture and its caption have in common."""
        return str(PurePosixPath(self.name).with_suffix(""))

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


def members(source: Path, most_picture: int) -> Iterator[Member]:
    """Every file in reading order. `most_picture`: bytes of one picture.

    Raises NotFound for a source that is not there, BadRequest (`unsafe_archive`, `bad_archive`) and TooLarge
    (`archive_too_large`) before anything of an archive was unpacked. Links are left out, of a folder as well.
    """
    if source.is_dir():
        yield from _of_folder(source, most_picture)
    elif source.is_file():
        yield from _of_zip(source, most_picture)
    else:
        raise NotFound("There are no pictures at that place.", hint="Give a folder or a ZIP.", field="data")


def is_litter(name: str) -> bool:
    """Files that systems leave behind: `__MACOSX`, `.DS_Store`, `Thumbs.db`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith((".", "__MACOSX")) for part in parts) or parts[-1:] == ("Thumbs.db",)


def _limit(name: str, most_picture: int) -> int:
    suffix = PurePosixPath(name).suffix.lower()
    return most_picture if suffix in PICTURES else MOST_WORDS if suffix in WORDS else 0


def _of_folder(folder: Path, most_picture: int) -> Iterator[Member]:
    total = count = 0
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for file in sorted(files):
            path = Path(parent) / file
            if path.is_symlink() or not path.is_file():
                continue
            name, size = path.relative_to(folder).as_posix(), path.stat().st_size
            count, total = count + 1, total + size
            _check_amount(count, total)
            limit = _limit(name, most_picture)
            yield Member(name, path.read_bytes() if size <= limit else None)


def _of_zip(file: Path, most_picture: int) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(entries)
            for entry in sorted(entries, key=lambda entry: entry.filename):
                limit = _limit(entry.filename, most_picture)
                with archive.open(entry) as stream:
                    data = stream.read(limit + 1) if entry.file_size <= limit else None
                yield Member(entry.filename, data if data is not None and len(data) <= limit else None)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError):
        raise BadRequest(
            "The archive cannot be read: it is no ZIP, or it is damaged.",
            hint="Pack the pictures into a ZIP without a password.",
            field="data",
            code="bad_archive",
        ) from None


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    _check_amount(len(entries), sum(entry.file_size for entry in entries))
    for entry in entries:
        name = entry.filename
        escapes = name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or _DRIVE.match(name)
        if escapes or stat.S_ISLNK(entry.external_attr >> 16):
            raise BadRequest(
                "The archive names a place outside of itself, or holds a link.",
                hint="Pack the pictures themselves, without paths and links.",
                field="data",
                code="unsafe_archive",
            )
        if entry.flag_bits & 1:
            raise BadRequest(
                "The archive has a password.", hint="Pack it without.", field="data", code="bad_archive"
            )
        if entry.file_size > 2**20 and entry.file_size > MOST_RATIO * max(1, entry.compress_size):
            raise TooLarge(
                f"A file in the archive unfolds to {entry.file_size / 2**20:.0f} MB from "
                f"{entry.compress_size / 2**10:.0f} kB; at most {MOST_RATIO} to 1 is unpacked.",
                field="data",
                code="archive_too_large",
            )


def _check_amount(count: int, total: int) -> None:
    if count > MOST_FILES or total > MOST_BYTES:
        raise TooLarge(
            f"{count} files with {total / 2**20:.0f} MB; at most {MOST_FILES} files with "
            f"{MOST_BYTES / 2**20:.0f} MB are read.",
            hint="5 to 500 pictures make a style.",
            field="data",
            code="archive_too_large",
        )
