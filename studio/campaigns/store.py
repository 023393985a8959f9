"""The rows of campaigns: what was asked, how far each shot is. Every change is one committed transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, func, insert, select, update

from studio.brand.names import PATTERN
from studio.brand.sheet import Shot
from studio.brand.table import Cells
from studio.errors import NotFound
from studio.library import Database, is_id, new_id
from studio.library.tables import campaign_shots as shots
from studio.library.tables import campaigns
from studio.people import speaker
from studio.schema import ResolvedRequest

CampaignState = Literal["running", "cancelled", "done"]
ShotState = Literal["waiting", "given", "done", "failed", "cancelled"]
MAX_NAME = 120  # characters
MAX_LISTED = 200


@dataclass(frozen=True)
class Options:
    """`pattern`: of file names. `fields`: request fields for rows that leave them out. `pictures`: id by
    file name.

    `grid`: the axes of an X/Y/Z grid, see brand.grid; empty for a campaign from a sheet.
    """

    pattern: str = PATTERN
    fields: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    grid: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class CampaignView:
    """`counts`: shots by state. `created`, `ended`: UTC, s since 1970. `eta`: s left, None while unknown."""

    id: str
    name: str
    user: str
    state: CampaignState
    counts: Mapping[str, int]
    created: float
    ended: float | None
    options: Options
    eta: float | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def finished(self) -> int:
        return sum(self.counts.get(state, 0) for state in ("done", "failed", "cancelled"))


@dataclass(frozen=True)
class ShotView:
    """One run. `place`: from 0. `row`: of the sheet. `attempt`: from 0. `error`: StudioError.as_dict()."""

    campaign: str
    place: int
    row: int
    cells: Mapping[str, str]
    request: ResolvedRequest
    state: ShotState
    attempt: int
    job: str | None
    error: Mapping[str, Any] | None

    @property
    def key(self) -> str:
        """The same for the same try, so that asking the queue twice makes one job."""
        return f"campaign/{self.campaign}/{self.place}/{self.attempt}"


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, table: Cells, options: Options, planned: Sequence[Shot]) -> str:
        """Id of the campaign, committed with all its shots."""
        id = new_id()
        row = {
            "id": id, "name": name[:MAX_NAME], "user": speaker.get().name, "state": "running",
            "sheet": json.dumps(table, ensure_ascii=False),
            "options": json.dumps(asdict(options), ensure_ascii=False), "created": time.time(),
        }  # fmt: skip
        with self._database.write() as connection:
            connection.execute(insert(campaigns).values(row))
            connection.execute(insert(shots), [_fresh(id, place, shot) for place, shot in enumerate(planned)])
        return id

    def get(self, id: str) -> CampaignView:
        """Raises NotFound (`campaign_not_found`), also for somebody else's."""
        query = select(campaigns).where(campaigns.c.id == (id if is_id(id) else ""))
        with self._database.read() as connection:
            row = connection.execute(query).first()
            person = speaker.get()
            if row is None or not (person.sees_all or row.user == person.name):
                raise NotFound(
                    "No such campaign.",
                    hint="Its id is what starting it answered.",
                    code="campaign_not_found",
                )
            return _view(row, self._counts(connection, [id])[id])

    def recent(self, limit: int = 50) -> list[CampaignView]:
        """Newest first; one's own, an administrator's view has everybody's."""
        query = select(campaigns).order_by(campaigns.c.number.desc()).limit(max(1, min(limit, MAX_LISTED)))
        person = speaker.get()
        if not person.sees_all:
            query = query.where(campaigns.c.user == person.name)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            counts = self._counts(connection, [row.id for row in rows])
        return [_view(row, counts[row.id]) for row in rows]

    def table(self, id: str) -> Cells:
        with self._database.read() as connection:
            text = connection.scalar(select(campaigns.c.sheet).where(campaigns.c.id == id))
        return [[str(cell) for cell in row] for row in json.loads(text or "[]")]

    def running(self) -> list[tuple[str, str]]:
        """(id, user) of campaigns with work left, oldest first."""
        query = select(campaigns.c.id, campaigns.c.user).where(campaigns.c.state == "running")
        with self._database.read() as connection:
            return [(row.id, row.user) for row in connection.execute(query.order_by(campaigns.c.number))]

    def shots(self, id: str, states: Iterable[ShotState] = (), limit: int | None = None) -> list[ShotView]:
        """In their order; all states, or only `states`."""
        query = select(shots).where(shots.c.campaign == id).order_by(shots.c.place)
        wanted = list(states)
        if wanted:
            query = query.where(shots.c.state.in_(wanted))
        if limit is not None:
            query = query.limit(limit)
        with self._database.read() as connection:
            return [_shot(row) for row in connection.execute(query)]

    def shot(self, id: str, place: int) -> ShotView:
        query = select(shots).where((shots.c.campaign == id) & (shots.c.place == place))
        with self._database.read() as connection:
            return _shot(connection.execute(query).one())

    def change(self, shot: ShotView, was: ShotState, **values: Any) -> bool:
        """False where the shot is no longer in the state `was` of this try: somebody was faster."""
        same = (shots.c.campaign == shot.campaign) & (shots.c.place == shot.place)
        same &= (shots.c.state == was) & (shots.c.attempt == shot.attempt)
        with self._database.write() as connection:
            return connection.execute(update(shots).where(same).values(values)).rowcount == 1

    def change_all(self, id: str, was: Sequence[ShotState], **values: Any) -> int:
        return self._update((shots.c.campaign == id) & shots.c.state.in_(was), values)

    def again(self, id: str, places: Sequence[int], states: Sequence[ShotState]) -> int:
        """Shots that wait anew as a new try. Returns how many."""
        chosen = (shots.c.campaign == id) & shots.c.place.in_(places) & shots.c.state.in_(states)
        anew = {"state": "waiting", "job": None, "error": None, "attempt": shots.c.attempt + 1}
        return self._update(chosen, anew)

    def replace(self, id: str, row: int, table: Cells, planned: Sequence[Shot]) -> None:
        """The shots of one row as the changed sheet wants them, in their old places; more go to the end."""
        old = [shot for shot in self.shots(id) if shot.row == row]
        with self._database.write() as connection:
            top = connection.scalar(select(func.max(shots.c.place)).where(shots.c.campaign == id)) or 0
            places = [shot.place for shot in old]
            places += [top + 1 + number for number in range(len(planned) - len(old))]
            attempt = max((shot.attempt for shot in old), default=-1) + 1
            connection.execute(
                shots.delete().where((shots.c.campaign == id) & shots.c.place.in_([one.place for one in old]))
            )
            fresh = [
                _fresh(id, place, shot) | {"attempt": attempt}
                for place, shot in zip(places, planned, strict=False)
            ]
            connection.execute(insert(shots), fresh)
            connection.execute(
                update(campaigns)
                .where(campaigns.c.id == id)
                .values(sheet=json.dumps(table, ensure_ascii=False))
            )

    def set_state(self, id: str, state: CampaignState) -> None:
        ended = None if state == "running" else time.time()
        with self._database.write() as connection:
            connection.execute(update(campaigns).where(campaigns.c.id == id).values(state=state, ended=ended))

    def end_if_over(self, id: str) -> bool:
        """The campaign is done once no shot waits or runs."""
        with self._database.write() as connection:
            open_shots = (shots.c.campaign == id) & shots.c.state.in_(("waiting", "given"))
            if connection.scalar(select(func.count()).select_from(shots).where(open_shots)):
                return False
            mine = (campaigns.c.id == id) & (campaigns.c.state == "running")
            connection.execute(update(campaigns).where(mine).values(state="done", ended=time.time()))
        return True

    def _update(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> int:
        with self._database.write() as connection:
            return int(connection.execute(update(shots).where(which).values(values)).rowcount)

    def _counts(self, connection: Any, ids: Sequence[str]) -> dict[str, dict[str, int]]:
        query = select(shots.c.campaign, shots.c.state, func.count()).where(shots.c.campaign.in_(ids))
        found: dict[str, dict[str, int]] = {id: {} for id in ids}
        for campaign, state, count in connection.execute(query.group_by(shots.c.campaign, shots.c.state)):
            found[campaign][state] = int(count)
        return found


def _fresh(id: str, place: int, shot: Shot) -> dict[str, Any]:
    assert shot.resolved is not None
    return {
        "campaign": id, "place": place, "row": shot.row, "state": "waiting", "attempt": 0,
        "cells": json.dumps(dict(shot.cells), ensure_ascii=False),
        "request": shot.resolved.model_dump_json(),
    }  # fmt: skip


def _view(row: Row[Any], counts: Mapping[str, int]) -> CampaignView:
    options = Options(**json.loads(row.options))
    return CampaignView(row.id, row.name, row.user, row.state, counts, row.created, row.ended, options)


def _shot(row: Row[Any]) -> ShotView:
    return ShotView(
        row.campaign, row.place, row.row, json.loads(row.cells),
        ResolvedRequest.model_validate_json(row.request), row.state, row.attempt, row.job,
        json.loads(row.error) if row.error else None,
    )  # fmt: skip
