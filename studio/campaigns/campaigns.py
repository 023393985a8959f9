"""The verbs of campaigns, and the thread that keeps the queue fed from them.

A shot's try has a key of its own; whoever asks the queue twice with it gets the same job. So a studio that
dies between asking and writing it down asks again after its restart, and nothing is made twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from studio.brand.grid import NAMES, Axis, matrix_axes
from studio.brand.names import check_pattern
from studio.brand.sheet import Defaults, Plan, Resolve, Sheet, make_plan, sheet_of, table_of
from studio.brand.table import Cells
from studio.campaigns import deliver, forecast
from studio.campaigns.deliver import Named
from studio.campaigns.forecast import Forecast
from studio.campaigns.grids import grid_shots
from studio.campaigns.store import CampaignView, Options, ShotView, Store
from studio.errors import BadRequest, Conflict, DiskLow, NotFound, NotReady, QueueFull, StudioError
from studio.library import Database, Library
from studio.people import Person, speaking
from studio.schema import GenerationRequest, JobView, ResolvedRequest

PAUSE = 0.2  # s between two looks at the jobs of a running campaign
REST = 3.0  # s between two looks for campaigns that another process left behind
Give = Callable[[ResolvedRequest, str], JobView]  # request, key: the same key twice gives the same job
Look = Callable[[str], JobView]
Cancel = Callable[[str], JobView]

log = logging.getLogger(__name__)


class Campaigns:
    """`give`, `look`, `cancel`: of the job queue. `ahead`: jobs of one campaign in the queue at a time.

    `size_for`: as in brand.sheet.Defaults. `ruled`: as in deliver.
    """

    def __init__(
        self,
        home: Path,
        database: Database,
        library: Library,
        resolve: Resolve,
        give: Give,
        look: Look,
        cancel: Cancel,
        ahead: int,
        size_for: Callable[[str, str], tuple[int, int] | None],
        ruled: deliver.Ruled,
    ) -> None:
        self._home, self._library, self._ahead = home, library, ahead
        self._size_for, self._ruled = size_for, ruled
        self._resolve, self._give, self._look, self._cancel = resolve, give, look, cancel
        self.store = Store(database)
        self._wake = threading.Condition()
        self._called = self._stopping = False
        self._kept: dict[str, IO[str]] = {}
        self._thread: threading.Thread | None = None
        self._only: str | None = None

    # --- verbs ---

    def plan(self, sheet: Sheet, options: Options) -> Plan:
        """Every run the sheet asks for, and every cell in the way. Writes nothing."""
        check_pattern(options.pattern, set(sheet.columns))
        return make_plan(sheet, Defaults(options.fields, options.pictures, self._size_for), self._resolve)

    def forecast(self, plan: Plan) -> Forecast:
        return forecast.of([shot.resolved for shot in plan.shots if shot.resolved], self._library, self._home)

    def create(self, sheet: Sheet, options: Options, name: str) -> CampaignView:
        """On disk when it returns; its rows begin at once. Raises BadRequest (`bad_sheet`), `disk_low`."""
        plan = self.plan(sheet, options)
        plan.check()
        forecast.check_disk(self.forecast(plan))
        id = self.store.add(name.strip() or "campaign", table_of(sheet), options, plan.shots)
        self._call()
        return self.get(id)

    def create_grid(self, base: GenerationRequest, axes: Sequence[Axis], name: str) -> CampaignView:
        """As `create`, of an X/Y/Z grid: every cell is a run, all of them in shared batches."""
        table, planned = grid_shots(base, axes, self._resolve)
        runs = [shot.resolved for shot in planned if shot.resolved]
        forecast.check_disk(forecast.of(runs, self._library, self._home))
        grid = [{"field": axis.field, "labels": list(axis.labels)} for axis in axes]
        pattern = "_".join(["{row}", *(f"{{{name}}}" for name in NAMES[: len(axes)]), "{seed}"])
        id = self.store.add(name.strip() or "grid", table, Options(pattern=pattern, grid=grid), planned)
        self._call()
        return self.get(id)

    def create_matrix(self, base: GenerationRequest, name: str) -> CampaignView:
        """As `create_grid`, of every combination of the parts of its prompt, see `matrix_axes`."""
        text, axes = matrix_axes(base.prompt)
        return self.create_grid(base.model_copy(update={"prompt": text}), axes, name.strip() or text[:120])

    def get(self, id: str) -> CampaignView:
        """Raises NotFound (`campaign_not_found`)."""
        return forecast.with_eta(self.store.get(id), self.store, self._library)

    def recent(self, limit: int = 50) -> list[CampaignView]:
        return self.store.recent(limit)

    def sheet(self, id: str) -> Sheet:
        """As it is now, changed rows included."""
        self.store.get(id)
        return sheet_of(self.store.table(id))

    def shots(self, id: str) -> list[ShotView]:
        self.store.get(id)
        return self.store.shots(id)

    def pictures(self, id: str) -> list[Named]:
        """Finished pictures under the names they are delivered by."""
        return deliver.pictures(self.store.get(id), self.store.shots(id), self._library)

    def results(self, id: str) -> bytes:
        """CSV with one line for each picture."""
        return deliver.results(self.shots(id), self.pictures(id), self._ruled)

    def contact_sheet(self, id: str) -> bytes:
        """PNG; of a grid, the grid."""
        return deliver.sheet_picture(self.store.get(id), self.shots(id), self.pictures(id))

    def write_zip(self, id: str, stream: IO[bytes], channel: str = "") -> None:
        """Raises NotFound for a channel that has no pictures."""
        deliver.write_zip(stream, self.store.get(id), self.shots(id), self.pictures(id), self._ruled, channel)

    def write_folder(self, id: str, out: Path) -> None:
        deliver.write_folder(out, self.store.get(id), self.shots(id), self.pictures(id), self._ruled)

    def cancel(self, id: str) -> CampaignView:
        """No row begins any more; the ones in the queue are cancelled; finished pictures stay."""
        if self.store.get(id).state != "running":
            raise Conflict("The campaign has ended already.", hint="Only a running one can be cancelled.")
        self.store.set_state(id, "cancelled")
        self.store.change_all(id, ("waiting",), state="cancelled")
        for shot in self.store.shots(id, ("given",)):
            self._stop(shot)
        return self.get(id)

    def retry(self, id: str, places: Sequence[int] = ()) -> CampaignView:
        """Failed and cancelled shots run again; with `places` those shots, finished ones included."""
        self.store.get(id)
        if places:
            states: tuple[str, ...] = ("done", "failed", "cancelled")
            chosen = list(places)
        else:
            states, chosen = ("failed", "cancelled"), [shot.place for shot in self.store.shots(id)]
        if self.store.again(id, chosen, states) == 0:  # type: ignore[arg-type]  # literals of ShotState
            raise Conflict("There is nothing to run again.", hint="Rows that wait or run need no retry.")
        return self._go_on(id)

    def edit(self, id: str, row: int, cells: Mapping[str, str]) -> CampaignView:
        """Changes cells of one row of the sheet and runs the row again. Raises BadRequest (`bad_sheet`)."""
        campaign, table = self.store.get(id), self.store.table(id)
        if campaign.options.grid:
            raise Conflict("The cells of a grid follow from its axes.", hint="Start another grid.")
        sheet = sheet_of(table)
        wanted = next((one for one in sheet.rows if one.number == row), None)
        if wanted is None:
            raise NotFound(f"The sheet has no row {row}.", field="row", code="row_not_found")
        unknown = [name for name in cells if name not in sheet.columns]
        if unknown:
            hint = f"Columns: {', '.join(sheet.columns)}."
            raise BadRequest(f"No column {unknown[0][:80]!r}.", field=unknown[0][:80], hint=hint)
        table[row - 1] = [cells.get(name, wanted.cells[name]) for name in sheet.columns]
        alone = sheet_of([table[0], *[[""]] * (row - 2), table[row - 1]])
        plan = self.plan(alone, campaign.options)
        plan.check()
        for shot in self.store.shots(id, ("given",)):
            if shot.row == row:
                self._stop(shot)
        self.store.replace(id, row, table, plan.shots)
        return self._go_on(id)

    def update(self, id: str, table: Cells) -> CampaignView:
        """The sheet as it was edited: rows that differ run again, the others are left as they are."""
        before, after = self.sheet(id), sheet_of(table)
        if before.columns != after.columns:
            raise Conflict("The columns have changed.", hint="Start a new campaign with this sheet.")
        old, new = ({row.number: row.cells for row in sheet.rows} for sheet in (before, after))
        if set(old) != set(new):
            raise Conflict("Rows were added or taken out.", hint="Start a new campaign with this sheet.")
        self.plan(after, self.store.get(id).options).check()
        changed = [number for number in new if new[number] != old[number]]
        if not changed:
            raise Conflict("No cell has changed.", hint="Change a row first, or retry failed ones.")
        for number in changed:
            self.edit(id, number, new[number])
        return self.get(id)

    def _go_on(self, id: str) -> CampaignView:
        self.store.set_state(id, "running")
        self._call()
        return self.get(id)

    def _stop(self, shot: ShotView) -> None:
        if shot.job is not None:
            try:
                self._cancel(shot.job)
            except StudioError:  # it ended meanwhile: its picture stays
                self._settle(shot)
                return
        self.store.change(shot, "given", state="cancelled")

    # --- the thread ---

    def start(self, only: str | None = None) -> None:
        """Feeds the queue from now on: from every campaign that nobody else feeds, or from `only`.

        The second call changes nothing.
        """
        if self._thread is not None:
            return
        self._only = only
        (self._home / "campaigns").mkdir(exist_ok=True)
        self._thread = threading.Thread(target=self._serve, name="campaigns", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What runs goes on at the next start."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=10)
        for file in self._kept.values():
            file.close()

    def _call(self) -> None:
        with self._wake:
            self._called = True
            self._wake.notify_all()

    def _serve(self) -> None:
        while True:
            try:
                busy = self._round()
            except Exception:  # a full disk, say: the thread must be there when there is room again
                log.exception("campaigns could not go on")
                busy = False
            with self._wake:
                self._wake.wait_for(lambda: self._called or self._stopping, PAUSE if busy else REST)
                self._called = False
                if self._stopping:
                    return

    def _round(self) -> bool:
        """True while there is work."""
        mine = [
            (id, user) for id, user in self.store.running() if self._only in (None, id) and self._keep(id)
        ]
        for id, user in mine:
            with speaking(Person(user, frozenset({"read", "generate"}))):
                self.advance(id)
        for id in set(self._kept) - {id for id, _ in mine}:
            self._kept.pop(id).close()
        return bool(mine)

    def _keep(self, id: str) -> bool:
        """Whether this process feeds the campaign. The system frees the lock of a process that died."""
        if id in self._kept:
            return True
        file = (self._home / "campaigns" / f"{id}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._kept[id] = file
        return True

    def advance(self, id: str) -> None:
        """Writes down what ended, gives the queue its next rows, ends the campaign when all are through."""
        given = self.store.shots(id, ("given",))
        running = sum(not self._settle(shot) for shot in given)
        room = max(0, self._ahead - running)
        for shot in self.store.shots(id, ("waiting",), room) if room else ():
            if not self._hand_over(shot):
                break
        self.store.end_if_over(id)

    def _settle(self, shot: ShotView) -> bool:
        """True once the shot's job has ended and the shot says how."""
        try:
            job = self._look(shot.job or "")
        except NotFound:  # a database from before it: the row runs again
            return self.store.change(shot, "given", state="waiting", job=None, attempt=shot.attempt + 1)
        if not job.final:
            return False
        state = {"completed": "done"}.get(job.state, job.state)
        error = json.dumps(dict(job.error), ensure_ascii=False) if job.error else None
        self.store.change(shot, "given", state=state, error=error)
        return True

    def _hand_over(self, shot: ShotView) -> bool:
        """False when the queue has no room now."""
        try:
            job = self._give(shot.request, shot.key)
        except (QueueFull, NotReady, DiskLow):  # the rows wait until there is room
            return False
        except StudioError as error:
            said = json.dumps(error.as_dict(), ensure_ascii=False)
            return self.store.change(shot, "waiting", state="failed", error=said)
        if not self.store.change(shot, "waiting", state="given", job=job.id):
            self._undo(shot, job)  # cancelled or changed while the queue was asked
        return True

    def _undo(self, shot: ShotView, job: JobView) -> None:
        if self.store.shot(shot.campaign, shot.place).job == job.id:
            return
        try:
            self._cancel(job.id)
        except StudioError:
            log.info("a job of a row that was changed meanwhile had ended already")
