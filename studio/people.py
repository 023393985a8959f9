"""Who is asking: set by the walls for each request, read by the studio where rows belong to somebody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

Scope = Literal["read", "generate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class Person:
    """`name`: what rows of theirs carry. `scopes`: what they may do; admin includes the others.

    `key`: id of the API key they came with, empty for a session.
    """

    name: str
    scopes: frozenset[str]
    key: str = ""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    @property
    def sees_all(self) -> bool:
        """Rows of everybody; others see their own."""
        return "admin" in self.scopes


LOCAL = Person("local", frozenset(SCOPES))  # the command line, and everybody where nobody has to sign in
NOBODY = Person("", frozenset())  # owns nothing, sees nothing

IN_SCOPE = "studio.person"  # where the walls also put who asks: into the request's ASGI scope

# A context variable and no argument: a route that forgot to hand the person on would show everybody's rows.
speaker: ContextVar[Person] = ContextVar("speaker", default=LOCAL)


@contextmanager
def speaking(person: Person) -> Iterator[None]:
    """Within the block, and in threads that copy its context, `person` is the one who asks."""
    token = speaker.set(person)
    try:
        yield
    finally:
        speaker.reset(token)


def may_see(owner: str) -> bool:
    """Whether who asks may see, and change, a row of `owner`'s."""
    person = speaker.get()
    return person.sees_all or owner == person.name


def only_of() -> str | None:
    """Whose rows a list holds; None = everybody's."""
    person = speaker.get()
    return None if person.sees_all else person.name
