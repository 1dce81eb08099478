# SPDX-License-Identifier: Apache-2.0
"""Commands that make, measure, compare and describe classifiers; none of them needs a server."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from medhub.classification.registry import find_folder, get_classifier
from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.foundation.settings import Settings
from medhub.science.inference.card import load_card
from medhub.science.learning.dataset import ListingRow, part_of, read_listing, with_sources
from medhub.science.learning.recipe import About, Distillation, Recipe, find_recipe, load_recipe

if TYPE_CHECKING:
    from medhub.science.learning.training_job import TrainedClassifier
    from medhub.science.learning.training_loop import Epoch

NEEDED = ("torch", "onnx", "safetensors", "matplotlib")
STOPPED = 143  # as a process that SIGTERM has ended
_BARS = "▁▂▃▄▅▆▇█"

Classifier = Annotated[str, typer.Argument(help="Name of a classifier, or its folder.")]
Listing = Annotated[
    Path, typer.Option("--data", help="CSV with path,label[,group][,split][,source], or a folder for each label.")
]
Root = Annotated[
    Path | None,
    typer.Option(help="What the CSV's paths are relative to; the nearest folder above it that fits if not given."),
]
Split = Annotated[
    str | None, typer.Option(help="Part to measure: train, val, test or all; test if not given and the CSV has one.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def train_command(
    recipe: Annotated[str, typer.Argument(help="A recipe (TOML), or the name of one that ships.")],
    data: Listing,
    out: Annotated[Path, typer.Option(help="Folder of the classifier; made if it is not there.")],
    root: Root = None,
    name: Annotated[str | None, typer.Option(help="Name of the classifier; that of the recipe if not given.")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Starting weights: timm:NAME, a classifier's folder, a .safetensors or .tflite file, or none."
        ),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of the classifier to learn from, instead of the recipe's.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was ended.")] = False,
    overrule_leakage: Annotated[
        str, typer.Option(help="Reason to go on although images overlap between the parts; the card names it.")
    ] = "",
    strangers: Annotated[
        Path | None, typer.Option(help="Folder of images it is not made for, as the recipe's patterns name them.")
    ] = None,
    progress: Annotated[Path | None, typer.Option(help="Write what happens to a file, as JSON lines.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to compute with.", min=1)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Make a classifier from labeled images. Needs the extra "train"; ends with 143 when it was stopped."""
    if absent := [one for one in NEEDED if find_spec(one) is None]:
        raise Unavailable(
            f"Training needs packages that are not installed: {', '.join(absent)}. Install the extra: "
            "pip install 'medhub[train]' (for torch without CUDA, take it from PyTorch's CPU index first)."
        )
    from medhub.science.learning.distributed import joined
    from medhub.science.learning.training_job import TrainingJob, run_training
    from medhub.science.learning.training_loop import Stopped

    path = find_recipe(recipe)
    wanted = _named(load_recipe(path), name, out)
    if init is not None:
        # What the recipe says of its own starting weights holds for a file of that name, wherever it lies.
        same = wanted.start_from is not None and Path(init).name == Path(wanted.start_from).name
        start = wanted.start if same else None
        wanted = wanted.model_copy(update={"start_from": None if init == "none" else init, "start": start})
    if teacher is not None:
        if wanted.distillation is None:
            raise Invalid("The recipe has no distillation: there is nothing for a teacher to do.", field="teacher")
        values = wanted.distillation.model_dump() | {"teacher": str(teacher.resolve())}
        wanted = wanted.model_copy(update={"distillation": Distillation.model_validate(values)})
    console = Console(stderr=True)
    with _Watcher(console, progress, quiet=int(os.environ.get("RANK", "0")) > 0) as watch:
        try:
            job = TrainingJob(
                recipe=wanted,
                rows=read_listing(data, root),
                folder=path.resolve().parent if init is None else Path.cwd(),
                out=out,
                recipe_name=recipe,
                data=strangers,
                overrule=overrule_leakage,
            )
            with joined(device, threads) as world:
                made = run_training(job, resume=resume, watch=watch, world=world, say=watch.say)
        except Stopped as stopped:
            watch.tell({"event": "stopped", "message": stopped.message})
            watch.say(stopped.message)
            raise typer.Exit(STOPPED) from None
        except MedhubError as error:
            watch.tell({"event": "failed", "message": error.message})
            raise
        except Exception as error:
            watch.tell({"event": "failed", "message": f"A fault of Medhub: {type(error).__name__}."})
            raise
        if made is not None:
            watch.tell({"event": "done", "digest": made.classifier.digest})
    if made is not None:
        _show_made(made, out)


def _named(recipe: Recipe, name: str | None, out: Path) -> Recipe:
    chosen = name
    if chosen is None and recipe.about.name == About().name:
        chosen = out.name
    if chosen is None:
        return recipe
    values = recipe.about.model_dump() | {"name": chosen}
    try:
        return recipe.model_copy(update={"about": About.model_validate(values)})
    except ValueError as error:
        raise Invalid(
            f'"{chosen}" cannot be the name of a classifier: small letters, digits and hyphens. Give one by --name.',
            field="name",
        ) from error


class _Watcher:
    """Shows progress, writes it to a file, and asks for an end when the process is asked to end."""

    def __init__(self, console: Console, file: Path | None, *, quiet: bool) -> None:
        self._console = console
        self._file: TextIO | None = file.open("a", encoding="utf-8") if file is not None and not quiet else None
        self._end = threading.Event()
        self._quiet = quiet
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=quiet, transient=True)
        self._task = self._bar.add_task("reading", total=None)
        self._began = self._told = 0.0
        self._first: int | None = None
        self._losses: list[float] = []
        self._accuracies: list[float] = []

    def __enter__(self) -> _Watcher:
        self._before = {one: signal.signal(one, self._asked) for one in (signal.SIGTERM, signal.SIGINT)}
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        for one, handler in self._before.items():
            signal.signal(one, handler)
        if self._file is not None:
            self._file.close()

    def _asked(self, number: int, _frame: object) -> None:
        if self._end.is_set():  # asked twice: at once
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._end.set()

    def stop(self) -> bool:
        """Whether the process was asked to end."""
        return self._end.is_set()

    def tell(self, event: dict[str, Any]) -> None:
        """Write a line to the file."""
        if self._file is not None:
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()

    def say(self, line: str) -> None:
        """Print a sentence."""
        if not self._quiet:
            self._bar.print(line, highlight=False, soft_wrap=True)

    def stage(self, name: str) -> None:
        """Another stage has begun."""
        self.tell({"event": "stage", "name": name})
        self._bar.update(self._task, description=name, total=None, completed=0)

    def prepared(self, images: int, of: int) -> None:
        """The frozen base has computed the features of so many images."""
        self._bar.update(self._task, description="features of the frozen base", total=of, completed=images)

    def step(self, step: int, of: int, loss: float) -> None:
        """One step of learning is done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = step, now
        self._bar.update(self._task, description=f"learning, loss {loss:.3f}", total=of, completed=step)
        if now - self._told >= 1 or step == of:
            self._told = now
            done = step - self._first
            eta = (now - self._began) / done * (of - step) if done else None
            self.tell({"event": "step", "step": step, "of": of, "loss": loss, "eta_s": eta})

    def epoch(self, epoch: Epoch) -> None:
        """One epoch is done."""
        self.tell(
            {
                "event": "epoch",
                "epoch": epoch.number,
                "of": epoch.of,
                "stage": epoch.stage,
                "loss": epoch.loss,
                "validation_loss": epoch.validation_loss,
                "validation_accuracy": epoch.validation_accuracy,
                "learning_rate": epoch.learning_rate,
                "seconds": epoch.seconds,
            }
        )
        self._losses.append(epoch.validation_loss)
        self._accuracies.append(epoch.validation_accuracy)
        self.say(
            f"{'head ' if epoch.stage == 'head' else ''}epoch {epoch.number}/{epoch.of}: loss {epoch.loss:.4f}, "
            f"validation loss {epoch.validation_loss:.4f} {_spark(self._losses)}, accuracy "
            f"{epoch.validation_accuracy:.4f} {_spark(self._accuracies)}, {epoch.seconds:.0f} s, waited for data "
            f"{epoch.waited:.1%}"
        )


def _spark(values: list[float]) -> str:
    shown = values[-12:]
    low, high = min(shown), max(shown)
    width = (high - low) or 1.0
    return "".join(_BARS[min(7, int((value - low) / width * 8))] for value in shown)


def _show_made(made: TrainedClassifier, out: Path) -> None:
    console = Console(stderr=True)
    card = made.classifier.card
    console.print(
        f"[bold]{card.name} {card.version}[/bold] is in {out}: accuracy {made.reached.accuracy.value:.2%} on "
        f"{made.reached.n} test images ({made.reached.accuracy.low:.2%} to {made.reached.accuracy.high:.2%}), "
        f"expected calibration error {made.reached.ece:.4f}. Its card: medhub card {out}",
        highlight=False,
        soft_wrap=True,
    )
    print(made.classifier.digest)


def _chosen(data: Path, root: Path | None, split: str | None) -> tuple[tuple[ListingRow, ...], str]:
    rows = read_listing(data, root)
    if split not in (None, "all", "train", "val", "test"):
        raise Invalid(f'There is no part "{split}"; there are train, val, test and all.', field="split")
    if split is None and any(row.split == "test" for row in rows):
        split = "test"
    if split in (None, "all"):
        return rows, "all"
    chosen = part_of(rows, split)  # type: ignore[arg-type]
    if not chosen:
        raise Invalid(f"{data.name} has no images of the part {split}.", field="split")
    return chosen, str(split)


def _bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)


def evaluate_command(
    classifier: Classifier,
    data: Listing,
    root: Root = None,
    split: Split = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least confidence with which a label is said; the learned one if not given.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe: measure variations and strangers too, and say where the card says otherwise."),
    ] = None,
    strangers: Annotated[Path | None, typer.Option(help="Folder that the recipe's patterns are relative to.")] = None,
    charts: Annotated[Path | None, typer.Option(help="Draw the charts into a folder (extra train).")] = None,
    as_json: AsJSON = False,
) -> None:
    """Measure a classifier on labeled images; exit code 1 if files could not be read, or the card says otherwise."""
    from medhub.science.learning import evaluation

    if threshold is not None and not 0 < threshold <= 1:
        raise Invalid("A threshold lies above 0 and is at most 1.", field="threshold")
    reader = get_classifier(Settings(), classifier)
    rows, part = _chosen(data, root, split)
    wanted = load_recipe(find_recipe(recipe)) if recipe is not None else None
    if wanted is not None:
        rows = with_sources(rows, wanted.source_of)
    with _bar(as_json) as bar:
        task = bar.add_task("Reading", total=len(rows))
        found = evaluation.measure(reader, rows, threshold, done=lambda: bar.advance(task))
    reached = evaluation.results(found)
    value = {"part": part, **evaluation.as_json(found, reached, reader.card, reader.digest)}
    wrong: list[str] = []
    if wanted is not None:
        parts = evaluation.card_parts(found, reached, evaluation.COMMAND.format(name=reader.card.name))
        if strangers is not None:
            command = evaluation.COMMAND.format(name=reader.card.name)
            parts["figures"] = (*parts["figures"], *evaluation.changes(reader, rows, threshold, command))
            kinds = evaluation.measure_out_of_distribution(
                reader, wanted.out_of_distribution, strangers, found.readings, threshold
            )
            parts["out_of_distribution"] = kinds
            value["variations"] = [one.model_dump(exclude={"command"}) for one in parts["figures"][5:]]
            value["strangers"] = [one.model_dump() for one in parts["out_of_distribution"]]
        wrong = evaluation.differences(reader.card, parts)
        value["differs_from_card"] = wrong
    if charts is not None:
        from medhub.science.learning.charts import draw_all

        draw_all(charts, [], found, reached)
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        _show(value, recipe is not None)
    if found.unreadable or wrong:
        raise typer.Exit(1)


def _show(value: dict[str, Any], checked: bool) -> None:
    console = Console()

    def ranged(one: dict[str, float | None] | None) -> str:
        if one is None or one["value"] is None:
            return "-"
        return f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"

    console.print(
        f"[bold]{value['classifier']} {value['version']}[/bold] on {value['n']} images ({value['part']}); "
        f"95 % intervals: {value['interval']}",
        highlight=False,
    )
    table = Table("figure", "value (95 % interval)")
    table.add_row("accuracy", ranged(value["accuracy"]))
    table.add_row("balanced accuracy", ranged(value["balanced_accuracy"]))
    table.add_row("expected calibration error", f"{value['ece']:.4f}")
    answered = value["answered"]
    table.add_row(f"gets a label at {answered['threshold']:.4g}", ranged(answered["share_interval"]))
    table.add_row("accuracy where a label is said", ranged(answered["accuracy_interval"]))
    table.add_row("unlike the training data", ranged(value["unlike_training_data"]))
    for point in value["curve"]:
        table.add_row(f"accuracy of the surest {point['answered']:.0%}", f"{point['accuracy']:.4f}")
    for name, one in value["per_source"].items():
        table.add_row(f"accuracy, source {name} (n = {one['n']})", ranged(one))
    for one in value.get("variations", ()):
        table.add_row(one["name"], ranged(one))
    console.print(table)
    names = ("sensitivity", "specificity", "precision", "f1", "auroc", "auprc")
    table = Table("label", "n", *names)
    for label, one in value["per_class"].items():
        table.add_row(label, str(one["n"]), *(ranged(one[name]).replace(" (", "\n(") for name in names))
    console.print(table)
    labels = value["confusion"]["labels"]
    table = Table("label \\ said", *labels)
    for label, row in zip(labels, value["confusion"]["rows"], strict=True):
        table.add_row(label, *(str(count) if count else "" for count in row))
    console.print(table)
    if value.get("strangers"):
        table = Table("not made for", "n", "Uncertain", "unlike the training data", "AUROC")
        for one in value["strangers"]:
            table.add_row(
                one["name"], str(one["n"]), f"{one['uncertain']:.4f}", f"{one['novel']:.4f}", f"{one['auroc']:.4f}"
            )
        console.print(table)
    if value["left_out"]:
        known = ", ".join(f"{label} ({count})" for label, count in value["left_out"].items())
        console.print(f"Left out, since the classifier does not know the label: {known}.", highlight=False)
    if value["unreadable"]:
        console.print(f"Not readable as images: {', '.join(value['unreadable'])}.", highlight=False)
    if checked:
        console.print("\n".join(value["differs_from_card"]) or "The card says the same.", highlight=False)


def calibrate_command(
    classifier: Classifier,
    data: Listing,
    out: Annotated[Path, typer.Option(help="Folder of the new version; made if it is not there.")],
    version: Annotated[str, typer.Option(help="Its version; another than that of the classifier.")],
    root: Root = None,
    target_error: Annotated[
        float | None,
        typer.Option(help="Share of the answers that may be wrong; that of the classifier's card if not given."),
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="Share of further sets that keep to it; 0.9.")] = None,
    note: Annotated[str, typer.Option(help="Why, for the card.")] = "",
    recipe: Annotated[str | None, typer.Option(help="Recipe: names sources, and what it is not made for.")] = None,
    strangers: Annotated[Path | None, typer.Option(help="Folder that the recipe's patterns are relative to.")] = None,
) -> None:
    """Learn anew, on images of your own, how sure a classifier may be and when it must say nothing."""
    from medhub.science.learning.recalibration import divided_for, promise_of, recalibrate

    folder = find_folder(Settings(), classifier)
    wanted = load_recipe(find_recipe(recipe)) if recipe is not None else None
    rows = read_listing(data, root)
    if wanted is not None:
        rows = with_sources(rows, wanted.source_of)
    card = load_card(folder)
    rows = divided_for(card, rows)
    promise = promise_of(card, target_error, confidence)
    with _bar(False) as bar:
        task = bar.add_task("Reading", total=sum(row.split == "val" for row in rows))
        made = recalibrate(
            folder,
            rows,
            out,
            version=version,
            wanted=promise,
            note=note,
            strangers=wanted.out_of_distribution if wanted is not None else (),
            data=strangers,
            done=lambda: bar.advance(task),
        )
    card, console = made.classifier.card, Console(stderr=True)
    limit = card.abstention
    said = (
        "no limit could be learned"
        if limit is None
        else f"it answers from {limit.threshold:.4f} on, {limit.answered:.1%} of the {limit.n} images it was learned on"
    )
    console.print(
        f"[bold]{card.name} {card.version}[/bold] is in {out}: {said}; on {made.reached.n} test images accuracy "
        f"{made.reached.accuracy.value:.2%}, expected calibration error {made.reached.ece:.4f}. Its card: medhub card "
        f"{out}",
        highlight=False,
        soft_wrap=True,
    )
    print(made.classifier.digest)


def compare_command(
    first: Classifier,
    second: Annotated[str, typer.Argument(help="Name of the other, or its folder.")],
    data: Listing,
    root: Root = None,
    split: Split = None,
    as_json: AsJSON = False,
) -> None:
    """Compare two classifiers on the same images: McNemar's exact test and a paired bootstrap over groups."""
    from medhub.science.learning.comparison import compare

    one, other = (get_classifier(Settings(), name) for name in (first, second))
    rows, part = _chosen(data, root, split)
    with _bar(as_json) as bar:
        task = bar.add_task("Reading", total=2 * len(rows))
        value = {"part": part, **compare(one, other, rows, done=lambda: bar.advance(task))}
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    console = Console()
    table = Table("figure", "value (95 % interval)")

    def ranged(found: dict[str, float]) -> str:
        return f"{found['value']:.4f} ({found['low']:.4f} to {found['high']:.4f})"

    table.add_row(f"accuracy of {first}", ranged(value["first"]["accuracy"]))
    table.add_row(f"accuracy of {second}", ranged(value["second"]["accuracy"]))
    table.add_row("difference, second minus first", ranged(value["difference"]))
    table.add_row("right by the first alone", str(value["only_first_right"]))
    table.add_row("right by the second alone", str(value["only_second_right"]))
    table.add_row("McNemar's exact test, p", f"{value['mcnemar_p']:.4f}")
    table.add_row("both say the same", f"{value['agreement']:.4f}")
    console.print(f"{value['n']} images ({part})", highlight=False)
    console.print(table)


def card_command(
    classifier: Classifier,
    as_json: AsJSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as docs/model-cards has it.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the Markdown to a file.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder in which classifiers that were trained in the app lie.")
    ] = None,
) -> None:
    """Show the card of a classifier: what it is for, what it reached, what it must not be used for."""
    from medhub.science.learning.card_page import page

    reader = get_classifier(Settings(data=data.absolute()) if data is not None else Settings(), classifier)
    if as_json:
        value = {"digest": reader.digest, **reader.card.model_dump(mode="json", exclude_none=True)}
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    text = page(reader.card)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    elif markdown:
        print(text, end="")
    else:
        Console().print(Markdown(text))


def install(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("train")(train_command)
    cli.command("evaluate")(evaluate_command)
    cli.command("calibrate")(calibrate_command)
    cli.command("compare")(compare_command)
    cli.command("card")(card_command)
