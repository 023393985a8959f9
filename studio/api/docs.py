"""/docs: every route and field on one plain page. FastAPI's own page loads scripts from a CDN."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222;
background:#fff}code{font-family:ui-monospace,monospace}h2{margin-top:2em}h3{margin:1.4em 0 .2em}
table{border-collapse:collapse}
td{padding:.15em 1em .15em 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#ccc;background:#161616}}"""


def add_docs(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    def docs() -> HTMLResponse:
        html = "".join(page(app.openapi()))
        return HTMLResponse(
            html, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )


def page(api: dict[str, Any]) -> Iterator[str]:
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    yield f"<h1>{title}</h1><p>For programs: <a href=/openapi.json>openapi.json</a>. Every refusal has "
    yield "the one shape <code>Refusal</code>.</p>"
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            if method == "head":
                continue
            yield f"<h3><code>{method.upper()} {escape(path)}</code></h3>"
            yield f"<p>{escape(route.get('summary', ''))}. "
            yield "Answers " + ", ".join(f"<code>{status}</code>" for status in route["responses"]) + ".</p>"
            yield from fields(body_of(route))
    yield "<h2>Shapes</h2>"
    for name, shape in sorted(api["components"]["schemas"].items()):
        yield f"<h3 id={escape(name)}>{escape(name)}</h3>"
        yield from fields(shape)


def body_of(route: dict[str, Any]) -> dict[str, Any]:
    content = route.get("requestBody", {}).get("content", {})
    return next((kind.get("schema", {}) for kind in content.values()), {})


def fields(shape: dict[str, Any]) -> Iterator[str]:
    if not shape.get("properties"):
        return
    yield "<table>"
    for name, row in shape["properties"].items():
        needed = " (required)" if name in shape.get("required", ()) else ""
        about = escape(row.get("description", ""))
        yield f"<tr><td><code>{escape(name)}</code>{needed}<td><code>{escape(kind_of(row))}</code><td>{about}"
    yield "</table>"


def kind_of(row: dict[str, Any]) -> str:
    """'integer 64..2048, multiple of 8 | null', 'array of LoraRef'."""
    if "$ref" in row:
        return str(row["$ref"]).rpartition("/")[2]
    for union in ("anyOf", "allOf"):
        if union in row:
            return " | ".join(kind_of(one) for one in row[union])
    if "enum" in row:
        return " | ".join(map(str, row["enum"]))
    kind = str(row.get("const", row.get("type", "any")))
    if kind == "array" and "items" in row:
        kind = f"array of {kind_of(row['items'])}"
    if "minimum" in row or "maximum" in row:
        kind += f" {row.get('minimum', '')}..{row.get('maximum', '')}"
    if "multipleOf" in row:
        kind += f", multiple of {row['multipleOf']}"
    return kind
