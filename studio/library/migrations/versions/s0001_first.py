"""The tables of the first studio; databases of that time carry no revision, so this step never runs."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    pass
