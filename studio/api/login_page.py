"""The page on which one signs in: plain HTML, English or 中文, no script."""

from __future__ import annotations

from functools import cache
from html import escape

from studio.settings import ROOT

WORDS = {
    "en": {
        "title": "Sign in", "name": "Name", "password": "Password", "go": "Sign in",
        "wrong": "Name or password is wrong.", "wait": "Too many attempts. Try again in {seconds} s.",
        "foot": "Forgotten? Who runs this studio can set a new one: studio users password NAME.",
    },
    "zh": {
        "title": "登录", "name": "用户名", "password": "密码", "go": "登录",
        "wrong": "用户名或密码不正确。", "wait": "尝试次数过多，请在 {seconds} 秒后重试。",
        "foot": "忘记密码？请管理员重设：studio users password 用户名。",
    },
}  # fmt: skip
LABELS = {"en": "English", "zh": "中文"}
TAGS = {"en": "en", "zh": "zh-CN"}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


@cache
def style() -> str:
    return (ROOT / "assets" / "login.css").read_text(encoding="utf-8")


def login_page(language: str, target: str, name: str = "", said: str = "") -> str:
    """`target`: where one goes afterwards. `name`: as it was typed. `said`: why it did not work."""
    words = WORDS[language]
    other = "zh" if language == "en" else "en"
    switch = (
        f'<a href="/login?lang={other}&amp;next={escape(target)}" lang="{TAGS[other]}">{LABELS[other]}</a>'
    )
    alert = f'<p class="said" role="alert">{escape(said)}</p>' if said else ""
    focus = ("", " autofocus") if name else (" autofocus", "")
    return f"""<!doctype html><html lang="{TAGS[language]}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{words["title"]} · Brand Studio</title><style>{style()}</style></head><body><main>
<header><b>Brand Studio</b>{switch}</header>
<h1>{words["title"]}</h1>{alert}
<form method="post" action="/login">
<input type="hidden" name="next" value="{escape(target)}"><input type="hidden" name="lang" value="{language}">
<label>{words["name"]}<input name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="64" required{focus[0]}></label>
<label>{words["password"]}<input name="password" type="password" autocomplete="current-password"
 maxlength="200" required{focus[1]}></label>
<button type="submit">{words["go"]}</button></form>
<p class="foot">{words["foot"]}</p></main></body></html>"""
