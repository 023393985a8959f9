"""Copies of pictures for people outside: without settings, marked, signed, with their brand's logo."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from studio.library import Library
from studio.library.marks import mark_of
from studio.logos import Logos
from studio.presets import Presets
from studio.safety.keys import SigningKey, read_key
from studio.safety.outgoing import Outgoing
from studio.schema import ImageRow
from studio.settings import Settings

if TYPE_CHECKING:
    from studio.safety.provenance import Provenance
    from studio.safety.verdict import Verification


class Copies:
    """`marked`: ids of the pictures that bear a mark (hexadecimal)."""

    def __init__(
        self, settings: Settings, library: Library, presets: Presets, logos: Logos,
        marked: Callable[[str], list[str]],
    ) -> None:  # fmt: skip
        self._settings, self._library, self._presets = settings, library, presets
        self._logos, self._marked = logos, marked

    @cached_property
    def provenance(self) -> Provenance:
        """Made at first use: its library takes 0.4 s to import."""
        from studio.safety.provenance import Provenance

        return Provenance(self._settings.home / "keys", self._settings.organisation, self._settings.mark)

    def of(self, row: ImageRow, logo: bool = True) -> Outgoing:
        """`logo`: with the one of its preset, where that has one. Raises BadRequest (`logo_missing`)."""
        from studio.safety.provenance import Origin

        mark = int(mark_of(row.request.model_dump(), row.seed), 16)
        made = datetime.fromtimestamp(row.created, UTC).isoformat(timespec="seconds")
        origin = Origin(mark, row.id, row.request.model, made)
        overlay = self._logos.of(row.request.preset) if logo else None
        marked = self._presets.policies(row.request.preset).mark
        return self.provenance.outgoing(self._library.picture_bytes(row.id)[0], origin, overlay, marked)

    def kind(self, preset: str | None) -> Literal["internal", "client"]:
        """What a download holds that nobody said it of: the brand's word, else the studio's."""
        return self._presets.policies(preset).metadata or self._settings.download

    def verify(self, data: bytes) -> Verification:
        """Who made a picture and whether it was changed since; `data` was judged before."""
        return self.provenance.verify(data, self._marked)

    def signing_key(self) -> SigningKey:
        return read_key(self._settings.home / "keys", self._settings.organisation)
