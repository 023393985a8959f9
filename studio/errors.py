"""Every way the studio says no.

StudioError
├── BadRequest (422)             a field is wrong: says which, its range and the nearest value that works
│   ├── InvalidJson (400)        the body is not JSON
│   ├── UnsupportedImage         not a PNG, JPEG or WebP still, or too large
│   ├── UnsafeFormat             weights that are not safetensors by content
│   ├── DoesNotFit               more memory than the machine has, however it is run
│   ├── WrongBase                a LoRA or ControlNet made for another model family
│   └── PresetInvalid            a brand file with a mistake: names line and column
├── Forbidden (403)              another site's page, or a host name that is not ours
├── NotFound (404)               no such job, picture, model, preset or LoRA
├── Conflict (409)               the thing is no longer in a state in which that can be done
│   └── LibraryReadOnly          a newer studio made the library: it can be looked at only
├── TooLarge (413)               body or file over its limit
├── UnsupportedMedia (415)       a mutation that is not JSON or multipart
├── QueueFull (429)              too many jobs waiting
├── NotReady (503)               the worker is starting, or stopped
├── DiskLow (507)                no room for another picture
└── EngineError (500)            a run that failed: each says what it needed and what was there
    ├── OutOfMemory
    ├── NumericalError           NaN or infinite latents that decoding in float32 did not mend
    └── WorkerCrashed

A message holds figures, a hint says what to do next. Neither ever holds a path or a traceback; the same
sentence is shown on the page, by the API and by the command line.
"""

from __future__ import annotations

from typing import Any


class StudioError(Exception):
    """`code`: stable snake_case word for programs. `field`: request field at fault, dotted, or None."""

    status = 500
    code = "studio_error"

    def __init__(
        self, message: str, *, hint: str = "", field: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, Any]:
        """The one JSON form of an error: `{"code", "message", "field", "hint"}`."""
        return {"code": self.code, "message": self.message, "field": self.field, "hint": self.hint}

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments do not survive pickling by themselves; workers send them.
        return _rebuild, (type(self), self.message, self.hint, self.field, self.code)


def _rebuild(
    kind: type[StudioError], message: str, hint: str, field: str | None, code: str
) -> StudioError:
    return kind(message, hint=hint, field=field, code=code)


class BadRequest(StudioError):
    status = 422
    code = "bad_request"


class InvalidJson(BadRequest):
    status = 400
    code = "invalid_json"


class UnsupportedImage(BadRequest):
    code = "unsupported_image"


class UnsafeFormat(BadRequest):
    code = "unsafe_format"


class DoesNotFit(BadRequest):
    code = "does_not_fit"


class WrongBase(BadRequest):
    code = "wrong_base"


class PresetInvalid(BadRequest):
    code = "preset_invalid"


class Forbidden(StudioError):
    status = 403
    code = "forbidden"


class NotFound(StudioError):
    status = 404
    code = "not_found"


class Conflict(StudioError):
    status = 409
    code = "conflict"


class LibraryReadOnly(Conflict):
    code = "library_read_only"


class TooLarge(StudioError):
    status = 413
    code = "too_large"


class UnsupportedMedia(StudioError):
    status = 415
    code = "unsupported_media"


class QueueFull(StudioError):
    status = 429
    code = "queue_full"
    retry_after = 5  # s


class NotReady(StudioError):
    status = 503
    code = "not_ready"
    retry_after = 5  # s


class DiskLow(StudioError):
    status = 507
    code = "disk_low"


class EngineError(StudioError):
    code = "engine_error"


class OutOfMemory(EngineError):
    code = "out_of_memory"


class NumericalError(EngineError):
    code = "numerical"


class WorkerCrashed(EngineError):
    code = "worker_crashed"
