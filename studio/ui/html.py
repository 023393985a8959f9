"""Markup for the page's own parts. What this file did not make is escaped: a prompt never becomes markup."""

from __future__ import annotations

import base64
from html import escape


class Markup(str):
    """A string that is already markup. Only `element` and `join` make one."""


def element(name: str, *children: str | None, **attributes: object) -> Markup:
    """`<name attributes>children</name>`. Children that are not Markup are escaped.

    Attribute names: `_` becomes `-`, a trailing `_` is dropped (`class_`, `for_`). None and False leave one
    out, True writes it without a value.
    """
    pairs = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        pairs.append(attribute if value is True else f'{attribute}="{escape(str(value))}"')
    head = " ".join([name, *pairs])
    if name in {"img", "input", "br"}:
        return Markup(f"<{head}>")
    return Markup(f"<{head}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child) for child in children if child is not None
        )
    )


def data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def picture_url(id: str) -> str:
    """Where a library picture is served byte for byte, so its own text chunks arrive with it."""
    return f"/api/v1/images/{id}/file"
