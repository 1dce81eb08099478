# SPDX-License-Identifier: Apache-2.0
"""What training does in the background: it feeds a trainer, a process of its own, and follows what that says."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session

from medhub.audit.service import AuditAct, record
from medhub.classification.registry import trained_folder_of
from medhub.errors import MedhubError, Unavailable
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.isolation import DecoderFailed
from medhub.foundation.jobs import JobInterrupted
from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.records import isolated_calls
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.inference.card import CARD_FILE, MODEL_FILE
from medhub.science.inference.classifier import Classifier
from medhub.training import runs
from medhub.training.datasets import File, files_of, pictures_of
from medhub.training.models import DataSetRow, TrainingRun
from medhub.training.run_progress import Progress
from medhub.training.trainer_process import (
    DIE_WITH_PARENT,
    SHUTDOWN_S,
    STOPPED_CODES,
    TRAINER,
    ProgressFile,
    TrainerFiles,
    end_process,
    last_output,
    trainer_command,
    trainer_environment,
)

log = get_logger()

POLL_S = 0.5
REPORT_S = 1.0
ERASURE_CHECK_S = 10.0
REPORT = "report"

ERASED = (
    "A patient of this data set was erased while the training was at work. What was learned so far is destroyed; "
    "start it again, and it learns without that patient."
)


class TrainingFailed(Unavailable):
    """The trainer did not make a classifier; trying again would not help."""

    code = "training-failed"


def runs_folder_of(settings: Settings) -> Path:
    """Where trainings at work have their folders."""
    return settings.data / "training"


def run_training(
    app: AppContext, run_id: str, *, stopping: threading.Event | None = None, trainer: Sequence[str] = TRAINER
) -> None:
    """Train a classifier from the images of a data set; begun again after a kill, it goes on where it was."""
    with app.database.writing() as session:
        serialize_writers(session, f"training {run_id}")
        run = session.get(TrainingRun, run_id)
        if run is None or run.state not in runs.ACTIVE_STATES:
            return
        run.state, run.started_at = "running", run.started_at or clock.now()
        resumed = Progress(curve=tuple(run.epochs["curve"]))
    folder = runs_folder_of(app.settings) / run_id
    try:
        paths = _write_inputs(app, run, folder, stopping)
        progress = _run_trainer(app, run, paths, resumed, stopping or threading.Event(), trainer)
        _install_classifier(app, run, folder, progress)
    except JobInterrupted:
        _remove_images(folder)
        raise
    except _RunEnded:
        pass
    except (MedhubError, OSError) as error:
        _set_failed(app, run_id, error.message if isinstance(error, MedhubError) else _describe_error(error))
    shutil.rmtree(folder, ignore_errors=True)


def give_up(app: AppContext, run_id: str) -> None:
    """Note that a training failed again and again."""
    _set_failed(app, run_id, "The server ended again and again while the training was at work. Start it again.")
    shutil.rmtree(runs_folder_of(app.settings) / run_id, ignore_errors=True)


def remove_old_folders(app: AppContext) -> None:
    """Remove the folders of trainings that are not at work, which a process that was killed left behind."""
    folders = runs_folder_of(app.settings)
    if not folders.is_dir():
        return
    with app.database.reading() as session:
        at_work = set(session.scalars(select(TrainingRun.id).where(TrainingRun.state.in_(runs.ACTIVE_STATES))))
    for folder in folders.iterdir():
        if folder.name not in at_work:
            shutil.rmtree(folder, ignore_errors=True)


def delete_orphaned_pictures(app: AppContext, *, older_than_s: float = 3600.0) -> int:
    """Delete pictures of uploaded data sets that no row names: a process died before it wrote the rows."""
    if not (app.settings.data / "datasets").is_dir():
        return 0
    store, count = pictures_of(app.settings), 0
    with app.database.reading() as session:
        named = set(session.scalars(select(DataSetRow.content).where(DataSetRow.content.is_not(None)).distinct()))
    for digest in list(store.digests(older_than_s=older_than_s)):
        if digest not in named:
            store.delete(digest)
            count += 1
    return count


class _RunEnded(Exception):
    """The training has ended, and its row says how."""


class _TrainerEnded(Exception):
    """Somebody else has ended the trainer: the job is tried again, and goes on where it was."""


def _write_inputs(app: AppContext, run: TrainingRun, folder: Path, stopping: threading.Event | None) -> TrainerFiles:
    """Write the images that are still there, and the list of them."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    _remove_images(folder)
    with app.database.reading() as session:
        files = files_of(session, run.dataset_id)
    paths = TrainerFiles(folder, len(files))
    paths.images.mkdir(mode=0o700)
    written, last_report = [], time.monotonic()
    for number, file in enumerate(files, 1):
        if stopping is not None and stopping.is_set():
            raise JobInterrupted
        if (name := _write_image(app, paths.images, file)) is not None:
            written.append((name, file.label, file.group, file.part))
        if time.monotonic() - last_report > REPORT_S:
            last_report = time.monotonic()
            _record_progress(app, run.id, Progress(stage="preparing", step=number, steps=len(files)))
            if _is_canceled(app, run.id):
                _set_stopped(app, run.id)
    if not written:
        raise TrainingFailed("None of the data set's images can be read. Nothing was learned.")
    with paths.listing.open("w", newline="", encoding="utf-8") as file_:
        rows = csv.writer(file_)
        rows.writerow(("path", "label", "group", "split"))
        rows.writerows(written)
    return paths


def _write_image(app: AppContext, folder: Path, file: File) -> str | None:
    name = f"{file.number}.png"
    try:
        if file.uploaded:
            (folder / name).write_bytes(pictures_of(app.settings).get(file.blob))
        else:
            Picture.fromarray(isolated_calls.read_stored_frame(app, file.blob)).save(folder / name, compress_level=1)
    except (Unacceptable, DecoderFailed):
        return None
    return name


def _remove_images(folder: Path) -> None:
    shutil.rmtree(folder / "images", ignore_errors=True)
    (folder / "data.csv").unlink(missing_ok=True)


def _run_trainer(
    app: AppContext,
    run: TrainingRun,
    paths: TrainerFiles,
    resumed: Progress,
    stopping: threading.Event,
    trainer: Sequence[str],
) -> Progress:
    """Run the trainer to its end, and write down what it says."""
    paths.progress.unlink(missing_ok=True)
    command = trainer_command(app, run, paths, trainer)
    with paths.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
            [sys.executable, "-c", DIE_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=paths.folder,
            env=trainer_environment(),
        )
    progress_file = ProgressFile(paths.progress, resumed)
    last_report = last_check = time.monotonic()
    stop_sent = changed = False
    try:
        while process.poll() is None:
            if stopping.wait(POLL_S):
                raise JobInterrupted
            now = time.monotonic()
            changed = progress_file.read_new() or changed
            if changed and now - last_report >= REPORT_S:
                last_report, changed = now, False
                _record_progress(app, run.id, progress_file.progress)
            if not stop_sent and _is_canceled(app, run.id):
                stop_sent = True
                process.send_signal(signal.SIGTERM)
                last_check = now
            if stop_sent and now - last_check > SHUTDOWN_S:
                process.kill()
            elif not stop_sent and now - last_check > ERASURE_CHECK_S:
                last_check = now
                if _count_files(app, run.dataset_id) < paths.files:
                    raise TrainingFailed(ERASED)
    finally:
        end_process(process)
    progress_file.read_new()
    if stop_sent:
        _set_stopped(app, run.id)
    if process.returncode == 0 and progress_file.progress.digest is not None:
        return progress_file.progress
    if process.returncode in STOPPED_CODES:
        raise _TrainerEnded
    raise TrainingFailed(progress_file.progress.failure or last_output(paths.log, process.returncode))


def _is_canceled(app: AppContext, run_id: str) -> bool:
    with app.database.reading() as session:
        run = session.get(TrainingRun, run_id)
        return run is None or run.stop_asked or run.state not in runs.ACTIVE_STATES


def _count_files(app: AppContext, dataset_id: str) -> int:
    with app.database.reading() as session:
        return len(files_of(session, dataset_id))


def _describe_error(error: OSError) -> str:
    return f"The training could not go on: {error.strerror or type(error).__name__}."


def _record_progress(app: AppContext, run_id: str, progress: Progress) -> None:
    with app.database.writing(durable=False) as session:
        run = session.get(TrainingRun, run_id)
        if run is not None and run.state == "running":
            runs.record_progress(run, progress)


def _change_active(app: AppContext, run_id: str, change: Callable[[Session, TrainingRun], None]) -> None:
    with app.database.writing() as session:
        serialize_writers(session, f"training {run_id}")
        run = session.get(TrainingRun, run_id)
        if run is not None and run.state in runs.ACTIVE_STATES:
            change(session, run)


def _set_state(session: Session, run: TrainingRun, state: str) -> None:
    run.state, run.finished_at = state, clock.now()
    run.step = run.steps = run.eta_s = None
    detail = {"digest": run.digest} if run.digest is not None else {}
    record(session, AuditAct(f"training.{state}", "training", run.id, project_id=run.project_id, detail=detail))


def _set_stopped(app: AppContext, run_id: str) -> NoReturn:
    _change_active(app, run_id, lambda session, run: _set_state(session, run, "stopped"))
    raise _RunEnded


def _set_failed(app: AppContext, run_id: str, words: str) -> None:
    def change(session: Session, run: TrainingRun) -> None:
        run.failure = words
        _set_state(session, run, "failed")

    _change_active(app, run_id, change)


def _install_classifier(app: AppContext, run: TrainingRun, folder: Path, progress: Progress) -> None:
    """Check what was made, lay it where classifiers are, and write down what it is."""
    source = folder / "classifier"
    classifier = Classifier.load(source)
    if classifier.digest != progress.digest:
        raise TrainingFailed("The classifier is not the one that the trainer says it made. Start the training again.")
    target = trained_folder_of(app.settings) / f"{run.name}-{classifier.digest[:8]}"
    _copy_classifier(source, target)

    def change(session: Session, row: TrainingRun) -> None:
        runs.record_progress(row, progress)
        row.classifier, row.digest = target.name, classifier.digest
        _set_state(session, row, "done")

    _change_active(app, run.id, change)


def _copy_classifier(source: Path, target: Path) -> None:
    """Move a classifier to its place, whole or not at all; what lies there has the same digest already."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staging = target.parent / f".{target.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700)
    for name in (CARD_FILE, MODEL_FILE):
        shutil.copyfile(source / name, staging / name)
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
    if (source / REPORT).is_dir():
        (staging / REPORT).mkdir()
        for picture in sorted((source / REPORT).glob("*.png")):
            shutil.copyfile(picture, staging / REPORT / picture.name)
    staging.rename(target)
