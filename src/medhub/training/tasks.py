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
from dataclasses import dataclass
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
from medhub.training import run_requests, runs
from medhub.training.datasets import File, files_of, pictures_of
from medhub.training.models import DataSetRow, TrainingRun
from medhub.training.run_progress import Progress

log = get_logger()

TRAINER = (sys.executable, "-m", "medhub.entrypoints.cli", "train")
# It ends with the process that started it, however that ends: no other trainer writes where the next one will. And it
# leaves the processor to whoever else wants it: people wait for the server, nobody for a training.
_DIE_WITH_PARENT = (
    "import ctypes,os,sys\n"
    "if sys.platform=='linux': ctypes.CDLL(None).prctl(1,9,0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]): os._exit(1)\n"
    "os.nice(10)\n"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
STOPPED = {3, 143, -signal.SIGTERM}
LOOK_S = 0.5
NOTE_S = 1.0
ERASED_S = 10.0
END_S = 8.0
REPORT = "report"

ERASED = (
    "A patient of this data set was erased while the training was at work. What was learned so far is destroyed; "
    "start it again, and it learns without that patient."
)


class TrainingFailed(Unavailable):
    """The trainer did not make a classifier; trying again would not help."""

    code = "training-failed"


def workshops_of(settings: Settings) -> Path:
    """Where trainings at work have their folders."""
    return settings.data / "training"


def train(
    app: AppContext, run_id: str, *, stopping: threading.Event | None = None, trainer: Sequence[str] = TRAINER
) -> None:
    """Train a classifier from the images of a data set; begun again after a kill, it goes on where it was."""
    with app.database.writing() as session:
        serialize_writers(session, f"training {run_id}")
        run = session.get(TrainingRun, run_id)
        if run is None or run.state not in runs.AT_WORK:
            return
        run.state, run.started_at = "running", run.started_at or clock.now()
        known = Progress(curve=tuple(run.epochs["curve"]))
    folder = workshops_of(app.settings) / run_id
    try:
        work = _prepare(app, run, folder, stopping)
        found = _follow(app, run, work, known, stopping or threading.Event(), trainer)
        _finish(app, run, folder, found)
    except JobInterrupted:
        _forget_images(folder)
        raise
    except _Ended:
        pass
    except (MedhubError, OSError) as error:
        _fail(app, run_id, error.message if isinstance(error, MedhubError) else _words_of(error))
    shutil.rmtree(folder, ignore_errors=True)


def give_up(app: AppContext, run_id: str) -> None:
    """Note that a training failed again and again."""
    _fail(app, run_id, "The server ended again and again while the training was at work. Start it again.")
    shutil.rmtree(workshops_of(app.settings) / run_id, ignore_errors=True)


def sweep(app: AppContext) -> None:
    """Remove the folders of trainings that are not at work, which a process that was killed left behind."""
    folders = workshops_of(app.settings)
    if not folders.is_dir():
        return
    with app.database.reading() as session:
        at_work = set(session.scalars(select(TrainingRun.id).where(TrainingRun.state.in_(runs.AT_WORK))))
    for folder in folders.iterdir():
        if folder.name not in at_work:
            shutil.rmtree(folder, ignore_errors=True)


def destroy_forgotten_pictures(app: AppContext, *, older_than_s: float = 3600.0) -> int:
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


class _Ended(Exception):
    """The training has ended, and its row says how."""


class _TrainerEnded(Exception):
    """Somebody else has ended the trainer: the job is tried again, and goes on where it was."""


@dataclass(frozen=True)
class _Work:
    """What a trainer is given."""

    folder: Path
    files: int

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def listing(self) -> Path:
        return self.folder / "data.csv"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def out(self) -> Path:
        return self.folder / "classifier"

    @property
    def said(self) -> Path:
        return self.folder / "trainer.log"


def _prepare(app: AppContext, run: TrainingRun, folder: Path, stopping: threading.Event | None) -> _Work:
    """Write the images that are still there, and the list of them."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    _forget_images(folder)
    with app.database.reading() as session:
        files = files_of(session, run.dataset_id)
    work = _Work(folder, len(files))
    work.images.mkdir(mode=0o700)
    written, told = [], time.monotonic()
    for number, file in enumerate(files, 1):
        if stopping is not None and stopping.is_set():
            raise JobInterrupted
        if (name := _write_image(app, work.images, file)) is not None:
            written.append((name, file.label, file.group, file.part))
        if time.monotonic() - told > NOTE_S:
            told = time.monotonic()
            _tell(app, run.id, Progress(stage="preparing", step=number, steps=len(files)))
            if _is_unwanted(app, run.id):
                _stop(app, run.id)
    if not written:
        raise TrainingFailed("None of the data set's images can be read. Nothing was learned.")
    with work.listing.open("w", newline="", encoding="utf-8") as file_:
        rows = csv.writer(file_)
        rows.writerow(("path", "label", "group", "split"))
        rows.writerows(written)
    return work


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


def _forget_images(folder: Path) -> None:
    shutil.rmtree(folder / "images", ignore_errors=True)
    (folder / "data.csv").unlink(missing_ok=True)


def _command(app: AppContext, run: TrainingRun, work: _Work, trainer: Sequence[str]) -> list[str]:
    recipe = run.recipe
    if run.recipe_text is not None:
        path = work.folder / "recipe.toml"
        path.write_text(run.recipe_text, encoding="utf-8")
        recipe = str(path)
    command = [*trainer, recipe, "--data", str(work.listing), "--root", str(work.images), "--out", str(work.out)]
    command += ["--name", run.name, "--progress", str(work.progress), "--resume"]
    if run.init is not None:
        given = run_requests.weights_folder_of(app.settings) / run.init
        command += ["--init", str(given) if given.is_file() else run.init]
    if run.overrule is not None:
        command += ["--overrule-leakage", run.overrule]
    return command


def _environment() -> dict[str, str]:
    """What a trainer knows: no setting and no secret of the server's."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEDHUB_")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def _follow(
    app: AppContext,
    run: TrainingRun,
    work: _Work,
    known: Progress,
    stopping: threading.Event,
    trainer: Sequence[str],
) -> Progress:
    """Run the trainer to its end, and write down what it says."""
    work.progress.unlink(missing_ok=True)
    command = _command(app, run, work, trainer)
    with work.said.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
            [sys.executable, "-c", _DIE_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd=work.folder,
            env=_environment(),
        )
    heard = _Heard(work.progress, known)
    told = looked = time.monotonic()
    asked = news = False
    try:
        while process.poll() is None:
            if stopping.wait(LOOK_S):
                raise JobInterrupted
            now = time.monotonic()
            news = heard.listen() or news
            if news and now - told >= NOTE_S:
                told, news = now, False
                _tell(app, run.id, heard.progress)
            if not asked and _is_unwanted(app, run.id):
                asked = True
                process.send_signal(signal.SIGTERM)
                looked = now
            if asked and now - looked > END_S:
                process.kill()
            elif not asked and now - looked > ERASED_S:
                looked = now
                if _count_files(app, run.dataset_id) < work.files:
                    raise TrainingFailed(ERASED)
    finally:
        _end(process)
    heard.listen()
    if asked:
        _stop(app, run.id)
    if process.returncode == 0 and heard.progress.digest is not None:
        return heard.progress
    if process.returncode in STOPPED:
        raise _TrainerEnded
    raise TrainingFailed(heard.progress.failure or _last_words(work.said, process.returncode))


class _Heard:
    """The lines of a progress file, as they come."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._at, self._rest = path, 0, ""
        self.progress = progress

    def listen(self) -> bool:
        """Take in what is new; whether anything was."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read(1024 * 1024)
        except FileNotFoundError:
            return False
        self._at += len(data)
        *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
        self._rest = self._rest[-20_000:]
        for line in lines:
            self.progress = self.progress.heard(line)
        return bool(lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_unwanted(app: AppContext, run_id: str) -> bool:
    with app.database.reading() as session:
        run = session.get(TrainingRun, run_id)
        return run is None or run.stop_asked or run.state not in runs.AT_WORK


def _count_files(app: AppContext, dataset_id: str) -> int:
    with app.database.reading() as session:
        return len(files_of(session, dataset_id))


def _last_words(path: Path, code: int) -> str:
    """The last sentence of a trainer that ended without a word in its progress file."""
    lines = [line.strip() for line in path.read_bytes()[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    if code == -signal.SIGKILL:
        return "The trainer was ended by the system, most often because it took too much memory. Use a smaller batch."
    return lines[-1][:2000] if lines else f"The trainer ended with the code {code} and said nothing."


def _words_of(error: OSError) -> str:
    return f"The training could not go on: {error.strerror or type(error).__name__}."


def _tell(app: AppContext, run_id: str, progress: Progress) -> None:
    with app.database.writing(durable=False) as session:
        run = session.get(TrainingRun, run_id)
        if run is not None and run.state == "running":
            runs.note(run, progress)


def _settle(app: AppContext, run_id: str, change: Callable[[Session, TrainingRun], None]) -> None:
    with app.database.writing() as session:
        serialize_writers(session, f"training {run_id}")
        run = session.get(TrainingRun, run_id)
        if run is not None and run.state in runs.AT_WORK:
            change(session, run)


def _mark(session: Session, run: TrainingRun, state: str) -> None:
    run.state, run.finished_at = state, clock.now()
    run.step = run.steps = run.eta_s = None
    detail = {"digest": run.digest} if run.digest is not None else {}
    record(session, AuditAct(f"training.{state}", "training", run.id, project_id=run.project_id, detail=detail))


def _stop(app: AppContext, run_id: str) -> NoReturn:
    _settle(app, run_id, lambda session, run: _mark(session, run, "stopped"))
    raise _Ended


def _fail(app: AppContext, run_id: str, words: str) -> None:
    def change(session: Session, run: TrainingRun) -> None:
        run.failure = words
        _mark(session, run, "failed")

    _settle(app, run_id, change)


def _finish(app: AppContext, run: TrainingRun, folder: Path, found: Progress) -> None:
    """Check what was made, lay it where classifiers are, and write down what it is."""
    made = folder / "classifier"
    classifier = Classifier.load(made)
    if classifier.digest != found.digest:
        raise TrainingFailed("The classifier is not the one that the trainer says it made. Start the training again.")
    place = trained_folder_of(app.settings) / f"{run.name}-{classifier.digest[:8]}"
    _lay(made, place)

    def change(session: Session, row: TrainingRun) -> None:
        runs.note(row, found)
        row.classifier, row.digest = place.name, classifier.digest
        _mark(session, row, "done")

    _settle(app, run.id, change)


def _lay(made: Path, place: Path) -> None:
    """Move a classifier to its place, whole or not at all; what lies there has the same digest already."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    arriving = place.parent / f".{place.name}"
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(mode=0o700)
    for name in (CARD_FILE, MODEL_FILE):
        shutil.copyfile(made / name, arriving / name)
        with (arriving / name).open("rb") as file:
            os.fsync(file.fileno())
    if (made / REPORT).is_dir():
        (arriving / REPORT).mkdir()
        for picture in sorted((made / REPORT).glob("*.png")):
            shutil.copyfile(picture, arriving / REPORT / picture.name)
    arriving.rename(place)
