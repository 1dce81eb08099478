# SPDX-License-Identifier: Apache-2.0
"""The command that trains classifiers; it needs no server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from medhub.entrypoints.cli_classifier_options import Listing, Root
from medhub.entrypoints.training_console import ConsoleObserver
from medhub.errors import Invalid, MedhubError, Unavailable
from medhub.science.learning.dataset import read_listing
from medhub.science.learning.recipe import About, Distillation, Recipe, find_recipe, load_recipe

if TYPE_CHECKING:
    from medhub.science.learning.training_job import TrainedClassifier

REQUIRED_PACKAGES = ("torch", "onnx", "safetensors", "matplotlib")
EXIT_STOPPED = 143  # as a process that SIGTERM has ended


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
    _require_packages()
    from medhub.science.learning.distributed import join_processes
    from medhub.science.learning.training_job import TrainingJob, run_training

    path = find_recipe(recipe)
    settings = _name_classifier(load_recipe(path), name, out)
    settings = _set_teacher(_set_initialization(settings, init), teacher)
    quiet = int(os.environ.get("RANK", "0")) > 0
    with ConsoleObserver(Console(stderr=True), progress, quiet=quiet) as observer:
        with _report_failure(observer):
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
        if trained is not None:
            observer.write_event({"event": "done", "digest": trained.classifier.digest})
    if trained is not None:
        _print_trained(trained, out)


def _require_packages() -> None:
    if missing := [package for package in REQUIRED_PACKAGES if find_spec(package) is None]:
        raise Unavailable(
            f"Training needs packages that are not installed: {', '.join(missing)}. Install the extra: "
            "pip install 'medhub[train]' (for a CPU build, install torch from PyTorch's CPU index first)."
        )


def _set_initialization(recipe: Recipe, init: str | None) -> Recipe:
    if init is None:
        return recipe
    # The recipe's card entry of its own initial weights applies to a file of the same name in any folder.
    same = recipe.start_from is not None and Path(init).name == Path(recipe.start_from).name
    start = recipe.start if same else None
    return recipe.model_copy(update={"start_from": None if init == "none" else init, "start": start})


def _set_teacher(recipe: Recipe, teacher: Path | None) -> Recipe:
    if teacher is None:
        return recipe
    if recipe.distillation is None:
        raise Invalid("The recipe has no distillation, so it cannot use a teacher.", field="teacher")
    values = recipe.distillation.model_dump() | {"teacher": str(teacher.resolve())}
    return recipe.model_copy(update={"distillation": Distillation.model_validate(values)})


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


@contextmanager
def _report_failure(observer: ConsoleObserver) -> Iterator[None]:
    """Write the event of a training that ends without a classifier."""
    from medhub.science.learning.training_progress import Stopped

    try:
        yield
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


def install(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("train")(train_command)
