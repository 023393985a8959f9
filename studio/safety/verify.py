"""Who made a picture: what its manifest says, and what its mark says where the manifest was stripped."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from studio.safety.manifest import Notary
from studio.safety.mark import Marker
from studio.safety.outgoing import MIMES
from studio.safety.verdict import Manifest, Verdict, Verification


def verify(
    file: bytes, notary: Notary, marker: Marker, marked: Callable[[str], Sequence[str]]
) -> Verification:
    """`file`: PNG, JPEG or WebP that was checked before. `marked`: the library's pictures with a mark.

    Anybody can embed anybody's mark, so a mark counts only when the library knows it; what it then proves is
    where to look, and the library's picture beside the file settles it.
    """
    picture = Image.open(io.BytesIO(file), formats=list(MIMES))
    manifest = notary.read(file, MIMES[str(picture.format)])
    reading = marker.read(np.asarray(picture.convert("RGB")))
    mark = "" if reading is None else f"{reading.id:08x}"
    pictures = tuple(marked(mark)) if mark else ()
    return Verification(_verdict(manifest, bool(pictures)), manifest, mark, pictures)


def _verdict(manifest: Manifest | None, known: bool) -> Verdict:
    state = "" if manifest is None else manifest.state
    if state == "intact":
        return "ours, unchanged"
    if known or state == "changed":
        return "ours, changed since"
    return "made by another program" if state == "untrusted" else "unknown"
