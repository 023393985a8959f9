"""`studio train`: a style of one's own from a folder or ZIP of pictures."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studio.cli.rows import Json
from studio.errors import BadRequest, NotFound, StudioError

if TYPE_CHECKING:
    from studio.models import Models
    from studio.schema import Event
    from studio.settings import Settings
    from studio.training.dataset import Dataset
    from studio.training.forecast import Forecast
    from studio.training.runs import Run

MOST_SHOWN = 20  # names of pictures that were left out


def train(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA_DIR", help="Folder or ZIP of 5 to 500 pictures.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new style.")] = None,
    model: Annotated[str | None, typer.Option(help="Model it is for; default: the studio's.")] = None,
    epochs: Annotated[int, typer.Option(help="How often all pictures are gone through.")] = 10,
    resume: Annotated[str | None, typer.Option(help="Go on with the run of this id.")] = None,
    epoch: Annotated[
        int | None, typer.Option(help="With --resume: go back to the end of this epoch, and on from there.")
    ] = None,
    take: Annotated[
        int | None, typer.Option(help="With --resume: only make the style of this epoch the result.")
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs there are.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only judge the pictures and forecast.")] = False,
    trigger: Annotated[str, typer.Option(help="Words that call the style.")] = "",
    title: Annotated[str, typer.Option(help="Shown instead of the name.")] = "",
    licence: Annotated[str, typer.Option(help="Of the pictures; written into the result.")] = "",
    keep: Annotated[
        list[str] | None, typer.Option(help="Picture to use whatever was found; may be given again.")
    ] = None,
    hold_out: Annotated[float, typer.Option(help="Share of pictures that judge the training.")] = 0.1,
    board: Annotated[
        list[str] | None, typer.Option(help="Prompt drawn after each epoch; may be given again.")
    ] = None,
    rank: Annotated[int, typer.Option()] = 16,
    alpha: Annotated[float, typer.Option()] = 32.0,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of a step.")] = None,
    repeats: Annotated[int | None, typer.Option(help="Times an epoch shows each picture.")] = None,
    size: Annotated[int | None, typer.Option(help="px a side; default: the model's own.")] = None,
    convolutions: Annotated[bool | None, typer.Option("--convolutions/--no-convolutions")] = None,
    text_encoder: Annotated[bool, typer.Option("--text-encoder", help="Train it too.")] = False,
    flip: Annotated[bool, typer.Option("--flip", help="Mirrored pictures too: not for logos.")] = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or fp16.")] = "fp32",
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Less memory, more time.")] = False,
    seed: Annotated[int, typer.Option()] = 42,
    captioner: Annotated[
        str | None, typer.Option(help="BLIP model in STUDIO_HOME/models that writes missing captions.")
    ] = None,
    prior: Annotated[
        str, typer.Option(help="Prior preservation: what a thing of this kind is called, 'a mug'.")
    ] = "",
    prior_weight: Annotated[float, typer.Option(help="Of its loss.")] = 1.0,
    prior_pictures: Annotated[int, typer.Option(help="How many the model makes for it.")] = 100,
    prior_from: Annotated[
        Path | None, typer.Option(help="Folder or ZIP of pictures of the kind, instead of made ones.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a LoRA. With --json one line for each step, epoch and, at the end, the result.

    Ctrl+C pauses: --resume RUN goes on, as it does after a kill or a power cut, bit for bit.
    """
    from studio.models import Models
    from studio.settings import read_settings
    from studio.training.runs import find

    settings = read_settings()
    models = Models(settings)
    say = Speaker(as_json)
    if runs:
        return list_all(settings, as_json)
    if resume is not None:
        run = find(settings.home / "training", resume)
        if take is not None:
            return take_epoch(run, take, models, settings, say)
        if epoch is not None:
            with run.alone():
                run.roll_back(epoch)
        return follow(run, models, settings, say)
    if data is None or not (name or check):
        raise BadRequest(
            "DATA_DIR and --name are needed.", hint="studio train DATA_DIR --name NAME", field="name"
        )
    asked: dict[str, Any] = {
        "name": name or "check", "epochs": epochs, "trigger": trigger, "title": title, "model": model,
        "board": list(board or ()), "rank": rank, "alpha": alpha, "rate": rate, "batch": batch,
        "repeats": repeats, "size": size, "convolutions": convolutions, "text_encoder": text_encoder,
        "flip": flip, "precision": precision, "checkpointing": checkpointing, "seed": seed,
        "prior": prior, "prior_weight": prior_weight, "prior_pictures": prior_pictures,
    }  # fmt: skip
    judging = {"licence": licence, "hold_out": hold_out, "kept_anyway": keep or ()}
    begin_new(Given(data, prior_from, captioner), asked, judging, check, say)


@dataclass(frozen=True)
class Given:
    """`data`: the pictures; `prior`: those of the kind, None = made. `captioner`: who writes captions."""

    data: Path
    prior: Path | None
    captioner: str | None


def begin_new(
    pictures: Given, asked: dict[str, Any], judging: dict[str, Any], check: bool, say: Speaker
) -> None:
    """Reads the pictures, tells what was found and what it will take; then trains, unless only asked."""
    from studio.models import Models
    from studio.schema import parse
    from studio.settings import read_settings
    from studio.training.dataset import summary
    from studio.training.plan import Places, begin, check_name, plan
    from studio.training.request import TrainRequest

    settings = read_settings()
    models = Models(settings)
    row = models.get(asked["model"] if asked["model"] is not None else settings.model)
    parse(TrainRequest, given(asked) | {"dataset": "new"})  # mistakes are told before pictures are read
    places = Places(settings.home)
    if not check:
        check_name(models, asked["name"])
    judging = judging | {"name": asked["name"], "size": asked["size"] or row.size}
    dataset, classes = keep_sets(pictures, settings, judging, say)
    request = parse(TrainRequest, given(asked) | {"dataset": dataset.id, "prior_set": classes})
    made = plan(request, models, places, row.name)
    say.dataset(dataset, summary(dataset))
    say.forecast(made.forecast)
    if not check:
        follow(begin(made, places, {"state": "running"}), models, settings, say)


def keep_sets(
    pictures: Given, settings: Settings, judging: dict[str, Any], say: Speaker
) -> tuple[Dataset, str]:
    """The set, captioned where that was asked for, and the id of the one of the kind, '' without."""
    from studio.safety.provenance import Provenance
    from studio.sandbox import Sandbox
    from studio.training.captioner import captions_of
    from studio.training.dataset import Change, change_dataset, keep_dataset, picture_file
    from studio.training.plan import Places

    home = Places(settings.home).datasets
    provenance = Provenance(settings.home / "keys", settings.organisation)
    with closing(Sandbox()) as sandbox:
        dataset = keep_dataset(
            pictures.data, home, sandbox.clean, **judging,
            verify=lambda file: provenance.verify(file, lambda mark: []),
        )  # fmt: skip
        classes = ""
        if pictures.prior is not None:
            classes = keep_dataset(pictures.prior, home, sandbox.clean, **judging | {"hold_out": 0.0}).id
    if pictures.captioner is not None:
        rows = [entry for entry in dataset.used if not entry.caption]
        files = [picture_file(home, dataset, entry) for entry in rows]
        written = captions_of(settings.home / "models", pictures.captioner, files)
        captions = {}
        for entry, caption in zip(rows, written, strict=True):
            captions[entry.name] = caption
            say.line("caption", picture=entry.name, caption=caption)
        dataset = change_dataset(home, dataset, Change(captions))
    return dataset, classes


def follow(run: Run, models: Models, settings: Settings, say: Speaker) -> None:
    """Trains to the end. Exits with 130 after Ctrl+C, everything learned on disk."""
    from studio.executors.lessons import turns_of

    say.line("run", run=run.id, model=run.training.model, name=run.training.name)
    run.note(state="running")
    begun = time.monotonic()
    try:
        with closing(turns_of(run, settings, models)) as turns:
            for event in turns:
                if event is not None:
                    say.event(event)
    except KeyboardInterrupt:
        run.note(state="paused")
        say.line("paused", run=run.id, hint=f"studio train --resume {run.id}")
        raise SystemExit(130) from None
    except StudioError as error:
        run.note(state="failed", error=error.as_dict())
        raise
    say.done(run, models, time.monotonic() - begun)


def take_epoch(run: Run, epoch: int, models: Models, settings: Settings, say: Speaker) -> None:
    from studio.executors.lessons import take

    with run.alone():
        take(run, epoch, settings, models)
    say.done(run, models, 0.0)


def list_all(settings: Settings, as_json: bool) -> None:
    from studio.cli.rows import show_rows
    from studio.training.runs import list_runs

    rows = []
    for run in list_runs(settings.home / "training"):
        told = run.told
        row = {"run": run.id, "name": told["training"]["name"], "model": told["training"]["model"]}
        rows.append(row | {"state": run.state, "epochs": len(run.epochs())})
    show_rows(rows, as_json, ("run", "name", "model", "state", "epochs"))


def given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


class Speaker:
    """One JSON line for each thing that happens, or a few words for people."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, kind: str, **facts: Any) -> None:
        if self.as_json:
            typer.echo(json.dumps({"event": kind} | facts, ensure_ascii=False))
        else:
            typer.echo(f"{kind}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))

    def dataset(self, dataset: Dataset, found: dict[str, Any]) -> None:
        if self.as_json:
            self.line("dataset", **found)
            return
        typer.echo(f"{len(dataset.training)} pictures to train on, {len(dataset.held_out)} held out.")
        for row in found["rows"]:
            if row["detail"]:
                typer.echo(f"{row['name']}: {', '.join(row['findings'])}: {row['detail']}")
        for row in found["left_out"][:MOST_SHOWN]:
            like = f" (like {row['like']})" if row["like"] else ""
            typer.echo(f"left out: {row['name']}: {', '.join(row['findings'])}{like}")
        for problem in found["problems"][:MOST_SHOWN]:
            typer.echo(f"{problem['name']}: {problem['problem']}")

    def forecast(self, found: Forecast) -> None:
        facts = {
            "trainable": found.trainable, "share": round(found.share, 4), "steps": found.steps,
            "memory": found.memory, "disk": found.disk,
            "seconds": None if found.seconds is None else round(found.seconds, 1),
        }  # fmt: skip
        self.line("forecast", **facts)

    def event(self, event: Event) -> None:
        from studio.schema import Epoch, Learned, Progress

        if isinstance(event, Epoch):
            facts = {"epoch": event.number, "of": event.of, "loss": event.loss, "held_out": event.held_out}
            self.line("epoch", **facts, style=event.style, best=event.best)
        elif isinstance(event, Learned) and self.as_json:
            self.line("step", step=event.step, of=event.of, loss=event.loss, eta=event.eta)
        elif isinstance(event, Progress) and self.as_json:
            self.line("reading", picture=event.step, of=event.of)
        elif isinstance(event, Learned) and sys.stderr.isatty():
            typer.echo(f"\rstep {event.step} of {event.of}, loss {event.loss:.4f} ", err=True, nl=False)

    def done(self, run: Run, models: Models, seconds: float) -> None:
        told, epochs = run.told, run.epochs()
        with suppress(NotFound):
            row = models.lora(told["lora"])
            self.line(
                "done", name=row.name, path=str(row.file), run=run.id, epoch=told["epoch"],
                epochs=len(epochs), steps=epochs[-1]["step"], loss=epochs[-1]["loss"],
                style=epochs[told["epoch"] - 1]["style"], bytes=row.bytes, sha256=told["sha256"],
                dataset=run.training.dataset, seconds=round(seconds, 1),
            )  # fmt: skip
