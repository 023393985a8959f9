"""Whose picture is it: a file dropped on the Library is read for its manifest and its invisible mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from studio.errors import StudioError
from studio.safety.verdict import Manifest
from studio.schema import ImageRow, parse_json
from studio.studio import Studio
from studio.ui import stage
from studio.ui.form import Page
from studio.ui.html import Markup, element, picture_url
from studio.ui.parts import board, dropper
from studio.ui.review_views import moment
from studio.ui.run import AT_ONCE
from studio.ui.text import Text

SAID = {
    "ours, unchanged": "verify_intact", "ours, changed since": "verify_changed",
    "made by another program": "verify_foreign", "unknown": "verify_unknown",
}  # fmt: skip


class Answer(BaseModel):
    """What POST /api/v1/verify said, by way of the browser."""

    verdict: str
    manifest: Manifest | None
    mark: str
    pictures: tuple[str, ...]


def build(page: Page) -> dict[str, Any]:
    t = page.t
    return {
        "verify": dropper(t, "library-verify", t("verify_drop"), "/api/v1/verify"),
        "verified": board(Markup(""), elem_id="library-verified"),
    }


def wire(page: Page) -> None:
    parts = page.parts["library"]

    def tell(data: Mapping[Any, Any]) -> Markup:
        try:
            answer = parse_json(Answer, str(data[parts["verify"]]).encode())
        except StudioError as error:
            return stage.problem(page.t, error.as_dict())
        return told(page.t, answer, seen(page.studio, answer.pictures))

    parts["verify"].input(tell, {parts["verify"]}, parts["verified"], **AT_ONCE)


def seen(studio: Studio, ids: tuple[str, ...]) -> list[ImageRow]:
    """Those pictures of the library that one may see."""
    found = []
    for id in ids:
        try:
            found.append(studio.image(id))
        except StudioError:
            continue
    return found


def told(t: Text, answer: Answer, images: list[ImageRow]) -> Markup:
    """Who, when, with what, changed since or not; where the manifest is gone, from the library's row."""
    made, row = answer.manifest, images[0] if images else None
    signed = made is not None and made.state in ("intact", "changed", "untrusted")
    facts = [
        (t("verify_who"), made.signer if made and signed else row.user if row else ""),
        (t("verify_when"), made.made if made and made.made else moment(row.created) if row else ""),
        (t("verify_what"), " · ".join(filter(None, (made.generator, made.model))) if made and signed
         else row.request.model if row else ""),
        (t("verify_mark"), answer.mark),
    ]  # fmt: skip
    lines = [element("div", element("dt", name), element("dd", value)) for name, value in facts if value]
    stripped = made is None and bool(images)
    return element(
        "section",
        element("p", element("b", t(SAID.get(answer.verdict, "verify_unknown")))),
        element("p", t("verify_stripped"), class_="caption") if stripped else None,
        element("dl", *lines) if lines else None,
        *[element("img", src=picture_url(row.id), alt=row.request.prompt) for row in images],
        class_="verified",
        role="status",
        data_verdict=answer.verdict,
    )
