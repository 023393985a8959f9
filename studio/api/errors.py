"""Every refusal in one form: `{"error": {"code", "message", "field", "hint"}}`; no traceback, no path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from studio.errors import BadRequest, NotFound, StudioError


class MethodNotAllowed(StudioError):
    """`allowed`: the methods that are, commas between them."""

    status = 405
    code = "method_not_allowed"
    allowed = ""


class Internal(StudioError):
    code = "internal"


def answer(error: StudioError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    wait = getattr(error, "retry_after", None)
    extra = {"retry-after": str(wait)} if wait else {}
    return JSONResponse(
        {"error": error.as_dict()}, status_code=error.status, headers={**extra, **(headers or {})}
    )


def unknown_route() -> NotFound:
    return NotFound(
        "There is nothing at this address.", hint="Every address is listed at /docs.", code="no_route"
    )


def wrong_method(allowed: str) -> MethodNotAllowed:
    error = MethodNotAllowed("This method is not possible here.", hint=f"Use {allowed}.")
    error.allowed = allowed
    return error


def install(app: FastAPI) -> None:
    """Gives `app` the one form for all it can raise."""

    def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StudioError)
        return answer(error)

    def plain(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allowed = ", ".join(methods_of(app.routes, request))
            return answer(wrong_method(allowed), {"allow": allowed})
        if error.status_code == 404:
            return answer(unknown_route())
        return JSONResponse(
            {"error": BadRequest(str(error.detail)).as_dict()},
            status_code=error.status_code,
            headers=error.headers,
        )

    def misread(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(invalid(error))

    def broken(_: Request, error: Exception) -> JSONResponse:
        return answer(unexpected(error))

    app.add_exception_handler(StudioError, refused)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, misread)
    app.add_exception_handler(Exception, broken)


def invalid(error: RequestValidationError) -> BadRequest:
    """The first mistake in an address or a header."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return BadRequest(f"{field}: {first['msg']}.", field=field or None)


def unexpected(error: Exception) -> Internal:
    """What went wrong stands in the server's log, by its kind; outside only that it did."""
    return Internal(
        f"The studio met an error it did not expect ({type(error).__name__}).",
        hint="The server's log says more; please report it.",
    )


def methods_of(routes: Iterable[BaseRoute], request: Request) -> list[str]:
    """Every method that some route takes at this address; Starlette alone names those of the first route."""
    found: set[str] = set()
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found)
