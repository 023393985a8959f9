"""The studio: every verb that a door or the page has, written once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from studio import __version__, edges, infotext, uploads
from studio.accounts import Accounts
from studio.brand.palette import PaletteScore
from studio.brand.rules import Report
from studio.campaigns import Campaigns
from studio.copies import Copies
from studio.errors import BadRequest, EngineError, NotFound
from studio.executors import Executor, make_executor
from studio.infotext import Found
from studio.inputs import Inputs, pictures_of
from studio.jobs import Jobs
from studio.jobs.queue import no_job
from studio.jobs.receipts import Weights, receipt
from studio.jobs.replay import Replay, compare, differences
from studio.kits import Kits, Trade
from studio.kits.kits import Kind, slug
from studio.library import Database, Library
from studio.library.library import no_picture
from studio.library.quotas import Quotas
from studio.logos import Logos
from studio.models import LoraRow, Models, Pulls
from studio.models.forecast import Outlook
from studio.outlooks import Outlooks
from studio.palettes import Palettes
from studio.people import may_see, only_of, speaker
from studio.presets import Presets
from studio.products import Products
from studio.recovery import Recovery
from studio.reports import Reports
from studio.requests import Requests
from studio.review.links import Chosen, LinkView, ShareRequest
from studio.review.review import Review
from studio.safety.checks import Checks, told
from studio.safety.outgoing import MIMES, Outgoing
from studio.safety.rules import read_rules
from studio.sandbox import Sandbox
from studio.schema import (
    Event,
    GenerationRequest,
    ImageRow,
    JobView,
    Rendered,
    ResolvedRequest,
    StudioStatus,
)
from studio.settings import Settings
from studio.trainings import Trainings
from studio.webhooks import Webhooks
from studio.wildcards import Wildcards

if TYPE_CHECKING:
    from studio.safety.verdict import Verification

RANKED = 500  # newest pictures that sorting by palette looks at
AHEAD = 3  # ticks of work that a campaign keeps in the queue: the engine never waits for its next row
VERSIONS = ("torch", "diffusers", "transformers", "gradio")


class Studio:
    """Everything a request needs, made once and handed around. Thread-safe; imports no torch."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        presets: Presets,
        database: Database,
        library: Library,
        executor: Executor,
    ) -> None:
        self.settings, self.models, self.presets = settings, models, presets
        own, shipped = settings.presets_dirs
        self.kits = Kits(presets, own, shipped, settings.home / "kits")
        self.logos = Logos(presets, self.kits.logo)
        self.copies = Copies(settings, library, presets, self.logos, self._marked)
        self.trade = Trade(self.kits, models, self.add_lora, self.cleaned, self.copies.signing_key)
        self.pulls = Pulls(models)
        self.library, self.executor = library, executor
        self.versions = _versions()  # reading them took 3 ms for each picture
        self.review = Review(settings, self._for_review)
        self.rules = read_rules(settings.home / "rules.yaml", "this studio")
        self.products = Products(lambda id: library.picture_bytes(id)[0])
        self.wildcards = Wildcards(settings.home / "wildcards")
        self.requests = Requests(
            models, presets, self.rules, self.picture_bytes, self.products.check, self.wildcards
        )
        policies = {"protected": self.rules.protected, "safety": self.rules.safety}
        self._checks = Checks(settings.home / "protected", policies)
        self._database, self.accounts, self.sandbox = database, Accounts(database), Sandbox()
        models.vet = self.sandbox.check_weights
        self.weights = Weights(database, models)
        self.inputs = Inputs(models, self.weights, library, self.products)
        self.recovery = Recovery(models, presets, self.weights, self.picture_bytes)
        self.outlooks = Outlooks(settings, models, executor)
        self.quotas = Quotas(settings, database)
        self.jobs = Jobs(
            settings, database, library, executor, self._stamp, self.inputs.of, self._receipt, self._judged
        )
        self.palettes = Palettes(library)
        self.reports = Reports(
            settings, presets, library, self.requests, self.wildcards, self.logos, self.palettes
        )
        self.trainings = Trainings(settings.home, models, executor, self.sandbox.clean, self.copies.verify)
        self.campaigns = Campaigns(
            settings.home, database, library, self.resolve, self._give, self.jobs.get, self.jobs.cancel,
            ahead=AHEAD * settings.rows, size_for=presets.size_for, ruled=self.reports.line,
        )  # fmt: skip
        self.webhooks = Webhooks(database, self.ended, settings.webhook_private)

    @classmethod
    def open(cls, settings: Settings, executor: Executor | None = None) -> Studio:
        """Makes the home folder and the database; nothing runs before `start`."""
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadRequest(
                f"The studio's home folder cannot be made: {error.strerror}.",
                hint="Set STUDIO_HOME to a folder of yours.",
                code="bad_home",
            ) from None
        database = Database(settings.home / "studio.db", settings.database_url)
        models, library = Models(settings), Library(settings.home, database, settings.disk_free)
        settings = settings.model_copy(update={"model": models.default()})  # the worker loads it first
        runner = executor if executor is not None else make_executor(settings, models)
        return cls(settings, models, Presets(settings.presets_dirs), database, library, runner)

    def start(self) -> None:
        """Returns at once; the default model loads meanwhile. Jobs of an earlier run go on."""
        self.executor.start()
        if self.settings.executor == "local":  # a server; others start it with their first upload
            self.sandbox.start()
        self.jobs.start()
        self.review.start()
        if self.settings.executor != "inline":  # a command line runs what it was asked, and nothing else
            self.campaigns.start()
            self.trainings.start()
            self.webhooks.start()

    def close(self) -> None:
        """Running jobs are queued again for the next start."""
        self.campaigns.close()
        self.trainings.close()
        self.webhooks.close()
        self.pulls.close()
        self.jobs.close()
        self.review.close()
        self.executor.close()
        self.sandbox.close()
        self.weights.close()
        self._database.close()

    # --- requests ---

    def resolve(self, request: GenerationRequest) -> ResolvedRequest:
        """The request with nothing left open, every name in it checked.

        Preset, then `<lora:...>` tags of the prompt, then the model's own defaults, then the seed. Raises
        NotFound and BadRequest with the field at fault and the nearest names.
        """
        return self.requests.resolve(request)

    def forecast(self, request: GenerationRequest | ResolvedRequest) -> Outlook:
        """Memory and time of a run before it begins. Raises what `resolve` does."""
        asked = self.resolve(request) if isinstance(request, GenerationRequest) else request
        return self.outlooks.of(asked)

    # --- jobs ---

    def submit(self, request: GenerationRequest, key: str | None = None) -> JobView:
        """On disk when it returns. Raises what `resolve` does, QueueFull, QuotaReached, DiskLow.

        `key`: the same key and request within a day gives the same job; with another request, Conflict.
        A request with a seed that the library has the pictures of is answered with them, unless `force`.
        """
        with self.models.one_look():
            resolved = self.resolve(request)
            self.outlooks.check(resolved)
            snapshot = self.weights.snapshot(resolved)
        user = speaker.get().name
        body = sha256(request.model_dump_json().encode()).hexdigest() if key else ""
        cache_key = source = None
        if request.seed is not None and request.seed != -1:
            pictures = self.library.hashes(pictures_of(resolved))
            cache_key = self.weights.cache_key(resolved, snapshot, pictures)
            source = None if request.force else self.jobs.answered(cache_key, user)
        with self.quotas.place(resolved):
            return self.jobs.submit(
                resolved, user=user, priority=request.priority, key=key, snapshot=snapshot, source=source,
                cache_key=cache_key, body=body,
            )  # fmt: skip

    def _stamp(self, png: bytes, request: ResolvedRequest, seed: int) -> bytes:
        return infotext.stamp(png, request, seed, self.weights.fingerprints(request))

    def _receipt(self, request: ResolvedRequest, picture: Rendered) -> Mapping[str, Any]:
        return receipt(self.weights.hashes(request), picture, self.executor.status(), self.versions)

    def _judged(self, picture: Rendered, request: ResolvedRequest) -> Rendered:
        """With what the checks found in it; blurred or blocked where the rules or its brand want that."""
        brand = self.presets.policies(request.preset).checks
        picture = self.products.finish(picture, request)
        data, checked = self._checks.apply(picture.data, picture.checks, brand)
        return replace(picture, data=data, checks=tuple(told(checked)))

    def check(self, data: bytes) -> list[dict[str, Any]]:
        """What the checks find in a file from elsewhere. Raises TooLarge, UnsupportedImage."""
        self.cleaned(data)  # judges the file
        return told(self._checks.look(data))

    def checks_of(self, id: str) -> list[dict[str, Any]]:
        """What was looked for in a picture when it was made, what was found and done. Raises NotFound."""
        self._check_reader(id)
        return list(self.library.receipt(id).get("checks", []))

    def rules_before(self, request: GenerationRequest) -> Report:
        """What the brand's rules say of a request. Raises what `resolve` does, save for words."""
        return self.reports.before(request)

    def rules_after(self, id: str) -> Report:
        """What they say of a picture, against its own preset as it is now. Raises NotFound."""
        return self.reports.after(self.image(id), self.checks_of(id))

    def _give(self, request: ResolvedRequest, key: str) -> JobView:
        """A campaign's run: the same key twice gives the same job."""
        snapshot = self.weights.snapshot(request)
        return self.jobs.submit(request, user=speaker.get().name, key=key, snapshot=snapshot)

    def job(self, id: str) -> JobView:
        """Raises NotFound (`job_not_found`), also for somebody else's: nobody learns that it is there."""
        view = self.jobs.get(id)
        if not may_see(view.user):
            raise no_job()
        return view

    def jobs_list(self, limit: int = 50) -> list[JobView]:
        """One's own, newest first; an admin's list holds everybody's."""
        return self.jobs.recent(limit, only_of())

    def ended(self, after: float, limit: int = 200) -> list[JobView]:
        """Jobs of everybody that ended later than `after`, earliest first: for figures, never for showing."""
        return self.jobs.ended(after, limit)

    def events(self, id: str, after: int = 0) -> Generator[tuple[int, Event]]:
        """Numbered events past `after`, then live ones up to the final one. Blocks between events."""
        self.job(id)
        return self.jobs.events(id, after)

    def wait(self, id: str, timeout: float | None = None) -> JobView:
        """The job once it has ended, or as it stands after `timeout` s."""
        self.job(id)
        return self.jobs.wait(id, timeout)

    def cancel(self, id: str) -> JobView:
        """Raises Conflict for a job that has ended otherwise."""
        self.job(id)
        return self.jobs.cancel(id)

    # --- pictures ---

    def upload(self, data: bytes) -> str:
        """Id of the picture, kept upright and without its notes. Raises TooLarge, UnsupportedImage."""
        return self.keep(self.cleaned(data))

    def cleaned(self, data: bytes) -> uploads.Upload:
        """As `upload` would keep it; nothing is written. Raises TooLarge, UnsupportedImage."""
        return self.sandbox.clean(data, self.settings.upload_bytes, self.settings.upload_pixels)

    def keep(self, picture: uploads.Upload) -> str:
        """Id of a picture that was cleaned."""
        user = speaker.get().name
        self.quotas.check_storage(len(picture.data))
        return self.library.add_upload(picture.data, picture.format, picture.width, picture.height, user=user)

    def picture_bytes(self, id: str) -> tuple[bytes, str]:
        """(file, mime type) of an upload or of a picture. Raises NotFound, also for somebody else's."""
        self._check_reader(id)
        return self.library.picture_bytes(id)

    def _check_reader(self, id: str) -> None:
        """Somebody else's picture does not exist, unless a collection shares it."""
        if not may_see(self.library.owner(id)) and not self.library.collections.of(id):
            raise no_picture()

    def check_owner(self, ids: Iterable[str]) -> None:
        """Raises NotFound (`image_not_found`) where one of the pictures is not one's own to change."""
        for id in ids:
            if not may_see(self.library.owner(id)):
                raise no_picture()

    def images(
        self, search: str = "", limit: int = 50, before: str | None = None, trash: bool = False,
        star: bool = False, collection: str | None = None,
    ) -> list[ImageRow]:  # fmt: skip
        """Newest first. `search`: words that must all be there. `before`: last id of the page before."""
        user = only_of() if collection is None else None  # what is in a collection is everybody's to see
        return self.library.images(search, limit, before, trash, star, collection, user)

    def image(self, id: str) -> ImageRow:
        """Raises NotFound (`image_not_found`), also for somebody else's."""
        self._check_reader(id)
        return self.library.image(id)

    def recover(self, data: bytes) -> Found:
        """Settings in a picture file of ours or of another tool, as far as this studio can follow them.

        Raises BadRequest (`no_settings`), TooLarge, UnsupportedImage.
        """
        self.cleaned(data)  # judges the file before its notes are read
        return self.recovery.match(infotext.find(infotext.texts_of(data)))

    def recover_text(self, text: str) -> Found:
        """As `recover`, from pasted text."""
        return self.recovery.match(infotext.find_text(text))

    def star(self, ids: Sequence[str], star: bool) -> None:
        """Raises NotFound, and then changes none."""
        self.check_owner(ids)
        self.library.star(ids, star)

    def replay(self, id: str) -> Replay:
        """Makes a picture again, keeps nothing, says how alike it is. Raises what running it raises."""
        row = self.image(id)
        made = self._rendered(row.request.model_copy(update={"seed": row.seed, "count": 1}))
        why = differences(self.library.receipt(id), self._receipt(row.request, made))
        return compare(id, self.library.picture_bytes(id)[0], made.data, row.format != "png", why)

    def _rendered(self, request: ResolvedRequest) -> Rendered:
        with closing(self.executor.run(request, self.inputs.of(request, {}))) as events:
            for event in events:
                if isinstance(event, Rendered):
                    return self._judged(event, request)
        raise EngineError("The run ended without a picture.", hint="Try it again.")

    def trash(self, ids: Sequence[str]) -> None:
        self.check_owner(ids)
        self.library.trash(ids)

    def restore(self, ids: Sequence[str]) -> None:
        self.check_owner(ids)
        self.library.restore(ids)

    def keep_kit_picture(self, kind: Kind, stem: str, data: bytes, replace: bool = False) -> str:
        """The name by which brand files call a logo or sample. Raises what `Kits.add_picture` does."""
        picture = self.cleaned(data)
        file = f"{slug(stem) or kind.removesuffix('s')}.{'png' if picture.format == 'png' else 'jpg'}"
        self.kits.add_picture(kind, file, picture.data, replace)
        return file

    def download_of(self, id: str) -> Literal["internal", "client"]:
        """What a download of a picture holds that nobody said it of: its brand's word, else the studio's."""
        try:
            return self.copies.kind(self.image(id).request.preset)
        except NotFound:  # an upload: it has no request
            return self.copies.kind(None)

    def client_copy(self, id: str, logo: bool = True) -> tuple[bytes, str]:
        """(file, mime type) of a picture for people outside: no settings in it, marked and signed.

        `logo`: with the one of its preset, where that has one. Raises BadRequest (`logo_missing`).
        """
        outgoing = self.copies.of(self.image(id), logo)
        return outgoing.file(), MIMES[outgoing.kind]

    def _for_review(self, id: str) -> Outgoing:
        """Whoever shared it might see it then."""
        return self.copies.of(self.library.image(id))

    def verify(self, data: bytes) -> Verification:
        """Who made a picture and whether it was changed since. Raises TooLarge, UnsupportedImage."""
        self.cleaned(data)  # judges the file
        return self.copies.verify(data)

    def _marked(self, mark: str) -> list[str]:
        return [row.id for row in self.images(f"mark:{mark}", limit=10)]

    def palette_score(self, id: str, preset: str | None = None) -> tuple[str, PaletteScore]:
        """(preset, score) against `preset`, else the picture's own. Raises BadRequest without either."""
        row, name = self._worn(id, preset)
        return name, self.palettes.score(row, self._palette(name))

    def recoloured(self, id: str, preset: str | None = None, strength: float = 0.6) -> bytes:
        """PNG whose hues are drawn toward the palette, lightness as it was. `strength`: 0 to 1."""
        row, name = self._worn(id, preset)
        return self.palettes.recoloured(row, self._palette(name), strength)

    def _worn(self, id: str, preset: str | None) -> tuple[ImageRow, str]:
        row = self.image(id)
        name = preset if preset is not None else row.request.preset
        if name is None:
            raise BadRequest("The picture has no preset of its own.", field="preset", hint="Name one.")
        return row, name

    def by_palette(
        self, preset: str, at_least: float = 0.0, search: str = ""
    ) -> list[tuple[ImageRow, PaletteScore]]:
        """The newest pictures, best score first. Raises NotFound, and BadRequest without a palette."""
        return self.palettes.ranked(self.images(search, RANKED), self._palette(preset), at_least)

    def _palette(self, preset: str) -> Mapping[str, str]:
        palette = self.presets.get(preset).palette
        if not palette:
            raise BadRequest(f"Preset {preset} has no palette.", field="preset", hint="Give it one.")
        return palette

    def share(self, request: ShareRequest) -> LinkView:
        """A link at which clients see copies of the pictures. Those of one prompt and shape are versions.

        Raises NotFound for a picture or preset that is not there.
        """
        rows = [self.image(id) for id in request.images]
        known = {preset.name: preset for preset in self.presets.list()}
        if request.preset is not None:
            self.presets.get(request.preset)
        named = [request.preset, *(row.request.preset for row in rows)]
        brand = next((known[name] for name in named if name in known), None)
        chosen = [
            Chosen(row.id, row.width, row.height, f"{row.request.prompt} {row.width / row.height}")
            for row in rows
        ]
        worn: dict[str, Any] = {}
        if brand and (brand.palette or brand.logo):
            logo = self.logos.badge(brand.name)
            worn = {"title": dict(brand.title), "palette": dict(brand.palette), "logo": logo}
        for name in {row.request.preset for row in rows}:
            self.logos.of(name)  # a logo that is missing is told now, not to the client
        return self.review.share(request, chosen, worn, speaker.get().name)

    def edges(self, id: str, low: int, high: int, size: tuple[int, int] | None = None) -> bytes:
        """PNG of a picture's Canny edges, as a ControlNet sees them at `size` (width, height) in px."""
        if not 1 <= low < high <= 255:
            raise BadRequest(f"low ({low}) must be below high ({high}), from 1 to 255.", field="control.low")
        data, _ = self.picture_bytes(id)
        picture = np.asarray(Image.open(BytesIO(uploads.flat(data))).convert("RGB"))
        if size is not None:
            picture = edges.cover(picture, *size)
        out = BytesIO()
        Image.fromarray(edges.canny(picture, low, high)).convert("L").save(out, "PNG", compress_level=1)
        return out.getvalue()

    def add_lora(self, file: Path, name: str | None = None) -> LoraRow:
        """Takes in a LoRA that somebody sent, read elsewhere first. Raises what `Models.add_lora` does, and
        BadRequest (`non_finite`, `file_too_costly`).
        """
        return self.models.add_lora(file, name)

    def count_tokens(self, prompt: str, model: str | None = None) -> int:
        """Without start and end token, tags and comments; 75 fill a chunk."""
        return self.models.count_tokens(model if model is not None else self.models.default(), prompt)

    def status(self) -> StudioStatus:
        ended = self.jobs.by_state()
        queued, running = ended.pop("queued", 0), ended.pop("running", 0)
        images, trashed = self.library.counts()
        worker = self.executor.status()
        return StudioStatus(worker, queued, running, images, trashed, self.versions, ended)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {"brand-studio": __version__}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found
