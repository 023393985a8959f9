"""Whose a picture is, as far as its file says: a mark in its pixels, content credentials, a rights note.

Looked for in the file as it was sent: what is kept for training has no notes left.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

from PIL import ExifTags, Image

from studio.safety.verdict import Verification

Verify = Callable[[bytes], Verification]
Found = tuple[str, str]  # (finding, what it says)
RIGHTS = (ExifTags.Base.Copyright, ExifTags.Base.Artist)
# Text of Dublin Core's rights and creator in XMP; an element is short, so the search is too.
XMP = re.compile(r"<dc:(?:rights|creator)\b[^>]{0,200}>(.{1,2000}?)</dc:(?:rights|creator)>", re.DOTALL)
TAGS = re.compile(r"<[^>]{0,500}>")
READ = 2**16  # characters of XMP: the search takes 2,000 times as many steps at worst
LONGEST = 120  # characters that are shown


def origins(file: bytes, verify: Verify | None) -> Iterator[Found]:
    """`marked`, `signed`, `claimed`, each with what it says. `file`: one that was judged before."""
    if verify is not None:
        told = verify(file)
        if told.mark:
            yield "marked", told.mark
        if told.manifest is not None:
            manifest = told.manifest
            words = filter(None, (manifest.generator, manifest.signer, "AI" if manifest.ai_made else ""))
            yield "signed", " · ".join(words)[:LONGEST]
    if rights := _rights(file):
        yield "claimed", rights[:LONGEST]


def _rights(file: bytes) -> str:
    """Copyright and author as EXIF or XMP have them, PNG's text chunks too; '' where nobody is named."""
    picture = Image.open(io.BytesIO(file))
    exif = picture.getexif()
    told = [_plain(exif.get(tag, "")) for tag in RIGHTS]
    told += [_plain(picture.info.get(name, "")) for name in ("Copyright", "Author")]
    xmp = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or ""
    text = (xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp))[:READ]
    told += [_plain(TAGS.sub(" ", found[1])) for found in XMP.finditer(text)]
    return " · ".join(dict.fromkeys(filter(None, told)))


def _plain(note: object) -> str:
    text = note.decode("utf-8", "replace") if isinstance(note, bytes) else str(note)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
