# SPDX-License-Identifier: Apache-2.0
"""Commands that train, evaluate, calibrate, compare and describe classifiers without a server."""

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
    from medhub.science.learning.training_progress import Epoch

REQUIRED_PACKAGES = ("torch", "onnx", "safetensors", "matplotlib")
EXIT_STOPPED = 143  # as a process that SIGTERM has ended
_BARS = "▁▂▃▄▅▆▇█"

Classifier = Annotated[str, typer.Argument(help="Name of a classifier, or its folder.")]
Listing = Annotated[
    Path,
    typer.Option(
        "--data", help="CSV with path,label[,group][,split][,source], or a folder with a subfolder per label."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Folder to which the paths of the CSV are relative; default: the nearest one that contains the first file."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Part to measure: train, val, test or all; default: test if the CSV has parts, otherwise all."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def train_command(
    recipe: Annotated[str, typer.Argument(help="A recipe (TOML file), or the name of an included one.")],
    data: Listing,
    out: Annotated[Path, typer.Option(help="Folder of the classifier; created if it does not exist.")],
    root: Root = None,
    name: Annotated[str | None, typer.Option(help="Name of the classifier; default: that of the recipe.")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: timm:NAME, the folder of a classifier, a .safetensors or .tflite file, or none."
        ),
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of the teacher for distillation, instead of the one in the recipe.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was stopped.")] = False,
    overrule_leakage: Annotated[
        str, typer.Option(help="Reason to continue although images overlap between the parts; the model card shows it.")
    ] = "",
    strangers: Annotated[
        Path | None,
        typer.Option(help="Folder with images that the classifier is not made for; the recipe has the patterns."),
    ] = None,
    progress: Annotated[Path | None, typer.Option(help="File for the progress, as JSON lines.")] = None,
    threads: Annotated[int | None, typer.Option(help="Number of CPU threads.", min=1)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Train a classifier from labeled images. Needs the extra "train"; exit code 143 if it was stopped by a signal."""
    if missing := [package for package in REQUIRED_PACKAGES if find_spec(package) is None]:
        raise Unavailable(
            f"Training needs packages that are not installed: {', '.join(missing)}. Install the extra: "
            "pip install 'medhub[train]' (for a CPU build, install torch from PyTorch's CPU index first)."
        )
    from medhub.science.learning.distributed import join_processes
    from medhub.science.learning.training_job import TrainingJob, run_training
    from medhub.science.learning.training_progress import Stopped

    path = find_recipe(recipe)
    settings = _name_classifier(load_recipe(path), name, out)
    if init is not None:
        # What the recipe says of its own starting weights holds for a file of that name, wherever it lies.
        same = settings.start_from is not None and Path(init).name == Path(settings.start_from).name
        start = settings.start if same else None
        settings = settings.model_copy(update={"start_from": None if init == "none" else init, "start": start})
    if teacher is not None:
        if settings.distillation is None:
            raise Invalid("The recipe has no distillation, so it cannot use a teacher.", field="teacher")
        values = settings.distillation.model_dump() | {"teacher": str(teacher.resolve())}
        settings = settings.model_copy(update={"distillation": Distillation.model_validate(values)})
    console = Console(stderr=True)
    with _ConsoleObserver(console, progress, quiet=int(os.environ.get("RANK", "0")) > 0) as observer:
        try:
            job = TrainingJob(
                recipe=settings,
                rows=read_listing(data, root),
                folder=path.resolve().parent if init is None else Path.cwd(),
                out=out,
                recipe_name=recipe,
                data=strangers,
                overrule=overrule_leakage,
            )
            with join_processes(device, threads) as processes:
                trained = run_training(
                    job, resume=resume, observer=observer, processes=processes, report=observer.print_line
                )
        except Stopped as stopped:
            observer.write_event({"event": "stopped", "message": stopped.message})
            observer.print_line(stopped.message)
            raise typer.Exit(EXIT_STOPPED) from None
        except MedhubError as error:
            observer.write_event({"event": "failed", "message": error.message})
            raise
        except Exception as error:
            observer.write_event({"event": "failed", "message": f"An internal error: {type(error).__name__}."})
            raise
        if trained is not None:
            observer.write_event({"event": "done", "digest": trained.classifier.digest})
    if trained is not None:
        _print_trained(trained, out)


def _name_classifier(recipe: Recipe, name: str | None, out: Path) -> Recipe:
    new_name = name
    if new_name is None and recipe.about.name == About().name:
        new_name = out.name
    if new_name is None:
        return recipe
    values = recipe.about.model_dump() | {"name": new_name}
    try:
        return recipe.model_copy(update={"about": About.model_validate(values)})
    except ValueError as error:
        raise Invalid(
            f'"{new_name}" cannot be the name of a classifier. '
            "Give one of lower-case letters, digits and hyphens by --name.",
            field="name",
        ) from error


class _ConsoleObserver:
    """Shows progress, writes it to a file, and stops the training when the process receives a signal."""

    def __init__(self, console: Console, file: Path | None, *, quiet: bool) -> None:
        self._console = console
        self._file: TextIO | None = file.open("a", encoding="utf-8") if file is not None and not quiet else None
        self._stop_requested = threading.Event()
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
        self._started = self._last_written = 0.0
        self._first: int | None = None
        self._losses: list[float] = []
        self._accuracies: list[float] = []

    def __enter__(self) -> _ConsoleObserver:
        self._before = {number: signal.signal(number, self._request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._file is not None:
            self._file.close()

    def _request_stop(self, number: int, _frame: object) -> None:
        if self._stop_requested.is_set():  # the second signal ends the process at once
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._stop_requested.set()

    def stop(self) -> bool:
        """Whether the process has received a signal to end."""
        return self._stop_requested.is_set()

    def write_event(self, event: dict[str, Any]) -> None:
        """Write a line to the file."""
        if self._file is not None:
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()

    def print_line(self, line: str) -> None:
        """Print a sentence."""
        if not self._quiet:
            self._bar.print(line, highlight=False, soft_wrap=True)

    def stage(self, name: str) -> None:
        """A new stage has started."""
        self.write_event({"event": "stage", "name": name})
        self._bar.update(self._task, description=name, total=None, completed=0)

    def prepared(self, images: int, of: int) -> None:
        """The frozen body has computed the features of this number of images."""
        self._bar.update(self._task, description="features of the frozen body", total=of, completed=images)

    def step(self, step: int, of: int, loss: float) -> None:
        """One training step is done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._started = step, now
        self._bar.update(self._task, description=f"training, loss {loss:.3f}", total=of, completed=step)
        if now - self._last_written >= 1 or step == of:
            self._last_written = now
            done = step - self._first
            eta = (now - self._started) / done * (of - step) if done else None
            self.write_event({"event": "step", "step": step, "of": of, "loss": loss, "eta_s": eta})

    def epoch(self, epoch: Epoch) -> None:
        """One epoch is done."""
        self.write_event(
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
        self.print_line(
            f"{'head ' if epoch.stage == 'head' else ''}epoch {epoch.number}/{epoch.of}: loss {epoch.loss:.4f}, "
            f"validation loss {epoch.validation_loss:.4f} {_sparkline(self._losses)}, accuracy "
            f"{epoch.validation_accuracy:.4f} {_sparkline(self._accuracies)}, {epoch.seconds:.0f} s, waited for data "
            f"{epoch.waited:.1%}"
        )


def _sparkline(values: list[float]) -> str:
    recent = values[-12:]
    low, high = min(recent), max(recent)
    width = (high - low) or 1.0
    return "".join(_BARS[min(7, int((value - low) / width * 8))] for value in recent)


def _print_trained(trained: TrainedClassifier, out: Path) -> None:
    console = Console(stderr=True)
    card = trained.classifier.card
    console.print(
        f"[bold]{card.name} {card.version}[/bold] is in {out}: accuracy {trained.results.accuracy.value:.2%} on "
        f"{trained.results.n} test images ({trained.results.accuracy.low:.2%} to {trained.results.accuracy.high:.2%}), "
        f"expected calibration error {trained.results.ece:.4f}. Model card: medhub card {out}",
        highlight=False,
        soft_wrap=True,
    )
    print(trained.classifier.digest)


def _select_rows(data: Path, root: Path | None, split: str | None) -> tuple[tuple[ListingRow, ...], str]:
    rows = read_listing(data, root)
    if split not in (None, "all", "train", "val", "test"):
        raise Invalid(f'There is no part "{split}". Use train, val, test or all.', field="split")
    if split is None and any(row.split == "test" for row in rows):
        split = "test"
    if split in (None, "all"):
        return rows, "all"
    selected = part_of(rows, split)  # type: ignore[arg-type]
    if not selected:
        raise Invalid(f"{data.name} has no images of the part {split}.", field="split")
    return selected, str(split)


def _progress_bar(quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True)


def evaluate_command(
    classifier: Classifier,
    data: Listing,
    root: Root = None,
    split: Split = None,
    threshold: Annotated[
        float | None, typer.Option(help="Smallest confidence with which a label is given; default: the learned limit.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe: compare the results with the model card; with --strangers, measure further images."),
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Folder to which the patterns of the recipe are relative.")
    ] = None,
    charts: Annotated[Path | None, typer.Option(help="Folder for charts (needs the extra train).")] = None,
    as_json: AsJSON = False,
) -> None:
    """Measure a classifier on labeled images; exit code 1 if files are unreadable or results differ from the card."""
    from medhub.science.learning import evaluation

    if threshold is not None and not 0 < threshold <= 1:
        raise Invalid("The threshold must be above 0 and at most 1.", field="threshold")
    reader = get_classifier(Settings(), classifier)
    rows, part = _select_rows(data, root, split)
    settings = load_recipe(find_recipe(recipe)) if recipe is not None else None
    if settings is not None:
        rows = with_sources(rows, settings.source_of)
    with _progress_bar(as_json) as bar:
        task = bar.add_task("Reading", total=len(rows))
        measurement = evaluation.measure(reader, rows, threshold, done=lambda: bar.advance(task))
    results = evaluation.compute_results(measurement)
    value = {"part": part, **evaluation.as_json(measurement, results, reader.card, reader.digest)}
    differences: list[str] = []
    if settings is not None:
        parts = evaluation.card_parts(measurement, results, evaluation.COMMAND.format(name=reader.card.name))
        if strangers is not None:
            command = evaluation.COMMAND.format(name=reader.card.name)
            parts["figures"] = (*parts["figures"], *evaluation.measure_changes(reader, rows, threshold, command))
            kinds = evaluation.measure_out_of_distribution(
                reader, settings.out_of_distribution, strangers, measurement.readings, threshold
            )
            parts["out_of_distribution"] = kinds
            value["variations"] = [figure.model_dump(exclude={"command"}) for figure in parts["figures"][5:]]
            value["strangers"] = [figure.model_dump() for figure in parts["out_of_distribution"]]
        differences = evaluation.differences(reader.card, parts)
        value["differs_from_card"] = differences
    if charts is not None:
        from medhub.science.learning.charts import draw_all

        draw_all(charts, [], measurement, results)
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
    else:
        _print_evaluation(value, recipe is not None)
    if measurement.unreadable or differences:
        raise typer.Exit(1)


def _print_evaluation(value: dict[str, Any], checked: bool) -> None:
    console = Console()

    def ranged(figure: dict[str, float | None] | None) -> str:
        if figure is None or figure["value"] is None:
            return "-"
        return f"{figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})"

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
    table.add_row(
        f"share with a label, confidence from {answered['threshold']:.4g}", ranged(answered["share_interval"])
    )
    table.add_row("accuracy of images with a label", ranged(answered["accuracy_interval"]))
    table.add_row("unlike the training data", ranged(value["unlike_training_data"]))
    for point in value["curve"]:
        table.add_row(f"accuracy of the most confident {point['answered']:.0%}", f"{point['accuracy']:.4f}")
    for name, figure in value["per_source"].items():
        table.add_row(f"accuracy, source {name} (n = {figure['n']})", ranged(figure))
    for figure in value.get("variations", ()):
        table.add_row(figure["name"], ranged(figure))
    console.print(table)
    names = ("sensitivity", "specificity", "precision", "f1", "auroc", "auprc")
    table = Table("label", "n", *names)
    for label, figure in value["per_class"].items():
        table.add_row(label, str(figure["n"]), *(ranged(figure[name]).replace(" (", "\n(") for name in names))
    console.print(table)
    labels = value["confusion"]["labels"]
    table = Table("true \\ predicted", *labels)
    for label, row in zip(labels, value["confusion"]["rows"], strict=True):
        table.add_row(label, *(str(count) if count else "" for count in row))
    console.print(table)
    if value.get("strangers"):
        table = Table("images it is not made for", "n", "Uncertain", "unlike the training data", "AUROC")
        for figure in value["strangers"]:
            table.add_row(
                figure["name"],
                str(figure["n"]),
                f"{figure['uncertain']:.4f}",
                f"{figure['novel']:.4f}",
                f"{figure['auroc']:.4f}",
            )
        console.print(table)
    if value["left_out"]:
        known = ", ".join(f"{label} ({count})" for label, count in value["left_out"].items())
        console.print(f"Not measured, because the classifier does not know the label: {known}.", highlight=False)
    if value["unreadable"]:
        console.print(f"Not readable as images: {', '.join(value['unreadable'])}.", highlight=False)
    if checked:
        console.print(
            "\n".join(value["differs_from_card"]) or "The results agree with the model card.", highlight=False
        )


def calibrate_command(
    classifier: Classifier,
    data: Listing,
    out: Annotated[Path, typer.Option(help="Folder of the new version; created if it does not exist.")],
    version: Annotated[str, typer.Option(help="New version number; it differs from that of the classifier.")],
    root: Root = None,
    target_error: Annotated[
        float | None,
        typer.Option(help="Largest share of wrong predictions above the limit; default: that of the model card."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Share of further sets for which it holds; default: 0.9.")
    ] = None,
    note: Annotated[str, typer.Option(help="Reason, for the model card.")] = "",
    recipe: Annotated[
        str | None, typer.Option(help="Recipe with the sources and the images it is not made for.")
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Folder to which the patterns of the recipe are relative.")
    ] = None,
) -> None:
    """Fit the calibration and the limit of abstention of a classifier to your own images, as a new version."""
    from medhub.science.learning.recalibration import recalibrate, split_for_calibration, target_of

    folder = find_folder(Settings(), classifier)
    settings = load_recipe(find_recipe(recipe)) if recipe is not None else None
    rows = read_listing(data, root)
    if settings is not None:
        rows = with_sources(rows, settings.source_of)
    card = load_card(folder)
    rows = split_for_calibration(card, rows)
    promise = target_of(card, target_error, confidence)
    with _progress_bar(False) as bar:
        task = bar.add_task("Reading", total=sum(row.split == "val" for row in rows))
        calibrated = recalibrate(
            folder,
            rows,
            out,
            version=version,
            target=promise,
            note=note,
            out_of_distribution=settings.out_of_distribution if settings is not None else (),
            data=strangers,
            done=lambda: bar.advance(task),
        )
    card, results, console = calibrated.classifier.card, calibrated.results, Console(stderr=True)
    limit = card.abstention
    outcome = (
        "no limit could be learned"
        if limit is None
        else f"limit {limit.threshold:.4f}, which {limit.answered:.1%} of the {limit.n} calibration images reach"
    )
    console.print(
        f"[bold]{card.name} {card.version}[/bold] is in {out}: {outcome}; on {results.n} test images accuracy "
        f"{results.accuracy.value:.2%}, expected calibration error {results.ece:.4f}. Model card: medhub card {out}",
        highlight=False,
        soft_wrap=True,
    )
    print(calibrated.classifier.digest)


def compare_command(
    first: Classifier,
    second: Annotated[str, typer.Argument(help="Name of the second classifier, or its folder.")],
    data: Listing,
    root: Root = None,
    split: Split = None,
    as_json: AsJSON = False,
) -> None:
    """Compare two classifiers on the same images: McNemar's exact test and a paired bootstrap over groups."""
    from medhub.science.learning.comparison import compare

    left, right = (get_classifier(Settings(), name) for name in (first, second))
    rows, part = _select_rows(data, root, split)
    with _progress_bar(as_json) as bar:
        task = bar.add_task("Reading", total=2 * len(rows))
        value = {"part": part, **compare(left, right, rows, done=lambda: bar.advance(task))}
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=2))
        return
    console = Console()
    table = Table("figure", "value (95 % interval)")

    def ranged(interval: dict[str, float]) -> str:
        return f"{interval['value']:.4f} ({interval['low']:.4f} to {interval['high']:.4f})"

    table.add_row(f"accuracy of {first}", ranged(value["first"]["accuracy"]))
    table.add_row(f"accuracy of {second}", ranged(value["second"]["accuracy"]))
    table.add_row("difference, second minus first", ranged(value["difference"]))
    table.add_row("correct only by the first", str(value["only_first_right"]))
    table.add_row("correct only by the second", str(value["only_second_right"]))
    table.add_row("McNemar's exact test, p", f"{value['mcnemar_p']:.4f}")
    table.add_row("same prediction by both", f"{value['agreement']:.4f}")
    console.print(f"{value['n']} images ({part})", highlight=False)
    console.print(table)


def card_command(
    classifier: Classifier,
    as_json: AsJSON = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in docs/model-cards.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the Markdown to a file.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder that contains classifiers trained in the web app.")
    ] = None,
) -> None:
    """Show the model card of a classifier: intended use, results and excluded uses."""
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
