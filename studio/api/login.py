"""Signing in and out, and who one is."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from studio.accounts import Attempts
from studio.accounts.accounts import SESSION
from studio.accounts.attempts import TooManyAttempts
from studio.api.login_page import POLICY, WORDS, login_page
from studio.api.sign_in import COOKIE, SignIn, SignInNeeded, cookie_of
from studio.people import SCOPES, speaker
from studio.schema import parse_json

# Where one may be sent after signing in: a word from these and never an address that came with a link.
TARGETS = ("/", "/zh/", "/docs")


class Credentials(BaseModel):
    name: str = ""
    password: str = ""


class Me(BaseModel):
    """`signed_in`: false where nobody has to; then everybody is `local`."""

    name: str
    scopes: list[str]
    signed_in: bool


def add_login(app: FastAPI, sign_in: SignIn) -> None:
    attempts = Attempts()

    @app.get("/login", include_in_schema=False, response_class=HTMLResponse)
    def show(request: Request) -> HTMLResponse:
        target = target_of(request.query_params.get("next", ""))
        return page(language_of(request, request.query_params.get("lang", ""), target), target)

    @app.post("/login", include_in_schema=False)
    async def enter(request: Request) -> Response:
        as_json = request.headers.get("content-type", "").startswith("application/json")
        body = await request.body()
        asked = parse_json(Credentials, body).model_dump() if as_json else form_of(body)
        name, target = asked.get("name", ""), target_of(asked.get("next", ""))
        language = language_of(request, asked.get("lang", ""), target)
        source = request.client.host if request.client else ""
        try:
            attempts.begin(source, name)
        except TooManyAttempts as error:
            if as_json:
                raise
            said = WORDS[language]["wait"].format(seconds=error.retry_after)
            return page(language, target, name, said, error.status, {"retry-after": str(error.retry_after)})
        token = await run_in_threadpool(sign_in.accounts.sign_in, name, asked.get("password", ""))
        if token is None:
            if as_json:
                raise SignInNeeded("Name or password is wrong.", code="wrong_password")
            return page(language, target, name, WORDS[language]["wrong"], 401)
        attempts.forgive(source, name)
        done: Response = JSONResponse({"name": name}) if as_json else RedirectResponse(target, 303)
        # A browser tells in Origin whether it came over https, also where a proxy hides that from us.
        secure = request.headers.get("origin", "").startswith("https:") or request.url.scheme == "https"
        done.set_cookie(
            COOKIE, token, max_age=int(SESSION), path="/", httponly=True, samesite="lax", secure=secure
        )
        done.headers["cache-control"] = "no-store"
        return done

    @app.post("/logout", include_in_schema=False)
    def leave(request: Request) -> Response:
        token = cookie_of(request.headers)
        if token:
            sign_in.accounts.sign_out(token)
            sign_in.forget(token)
        done = RedirectResponse("/login", 303)
        done.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")
        return done

    @app.get("/api/v1/me", tags=["health"], summary="Who the studio takes you for")
    async def me() -> Me:
        person = speaker.get()
        scopes = [scope for scope in SCOPES if person.may(scope)]
        return Me(name=person.name, scopes=scopes, signed_in=await sign_in.needed())


def page(
    language: str,
    target: str,
    name: str = "",
    said: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    own = {"content-security-policy": POLICY, "cache-control": "no-store", **(headers or {})}
    return HTMLResponse(login_page(language, target, name, said), status, own)


def form_of(body: bytes) -> dict[str, str]:
    """The first value of each field; the walls bound the body's length."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def target_of(asked: str) -> str:
    return asked if asked in TARGETS else "/"


def language_of(request: Request, asked: str, target: str) -> str:
    if asked in WORDS:
        return asked
    speaks_chinese = request.headers.get("accept-language", "").lower().startswith("zh")
    return "zh" if target == "/zh/" or speaks_chinese else "en"
