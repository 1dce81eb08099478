# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.audit.models import AuditEntry
from medhub.classification.registry import all_installed, find_installed
from medhub.errors import Conflict, Invalid, NotAllowed, NotFound
from medhub.foundation.app_context import AppContext
from medhub.foundation.jobs import Handler, Job, JobInterrupted, LongHandler, Runner, enqueue
from medhub.foundation.settings import Settings
from medhub.records.erasure import erase_patient
from medhub.training import run_requests, runs, tasks
from medhub.training.models import DataSetRow, TrainingRun
from tests.conftest import ROOT
from tests.factories.accounts import People
from tests.training.conftest import Trainer


def start(app: AppContext, actor: Actor, dataset_id: str, **more: Any) -> str:
    given = {"name": "ours", "recipe": "quick", "init": None, "overrule": None} | more
    with app.database.writing() as session:
        return runs.start_run(session, app.settings, actor, dataset_id=dataset_id, **given).id


def run_of(app: AppContext, run_id: str) -> TrainingRun:
    with app.database.reading() as session:
        return session.get_one(TrainingRun, run_id)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


@pytest.fixture
def seen(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """What the trainer was given."""

    def read() -> dict[str, Any]:
        inputs: dict[str, Any] = json.loads((tmp_path / "seen.json").read_text())
        return inputs

    return read


def test_a_training_ends_in_a_classifier_that_is_found(
    app: AppContext,
    researcher: Actor,
    dataset_id: str,
    trainer: Trainer,
    seen: Callable[[], dict[str, Any]],
) -> None:
    run_id = start(app, researcher, dataset_id, init="timm:hrnet_w18_small", overrule="The same slide twice.")
    tasks.run_training(app, run_id, trainer=trainer())
    run = run_of(app, run_id)
    assert (run.state, run.failure, run.stage) == ("done", None, "learning")
    assert [item["validation_accuracy"] for item in run.epochs["curve"]] == [0.5, 0.9]
    assert run.digest is not None
    installed = find_installed(app.settings, run.digest)
    assert installed.folder == (app.settings.data / "classifiers" / f"ours-{run.digest[:8]}").resolve()
    assert sorted(path.name for path in installed.folder.iterdir()) == ["card.toml", "model.onnx", "report"]
    assert not (app.settings.data / "training" / run_id).exists()
    given = seen()
    assert given["recipe"] == "quick"
    assert {name: given["options"][name] for name in ("--name", "--init", "--overrule-leakage", "--resume")} == {
        "--name": "ours",
        "--init": "timm:hrnet_w18_small",
        "--overrule-leakage": "The same slide twice.",
        "--resume": "",
    }
    assert len(given["rows"]) == 18
    with app.database.reading() as session:
        rows = session.scalars(select(DataSetRow).where(DataSetRow.dataset_id == dataset_id))
        assert {tuple(row) for row in given["rows"]} == {
            (f"{row.number}.png", row.label, row.patient_id, row.part) for row in rows
        }
        acts = session.scalars(select(AuditEntry.action).where(AuditEntry.object_id == run_id)).all()
    assert acts == ["training.start", "training.done"]


def test_a_training_that_fails_says_why(app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer) -> None:
    for mode, words in (
        ("fails", "There is one label only."),
        ("absent", "Training needs packages that are not installed: torch."),
        ("lies", "not the one that the trainer says"),
    ):
        run_id = start(app, researcher, dataset_id)
        tasks.run_training(app, run_id, trainer=trainer(mode))
        run = run_of(app, run_id)
        assert run.state == "failed"
        assert words in str(run.failure)
        assert not (app.settings.data / "training" / run_id).exists()
    assert [item.card.name for item in all_installed(app.settings)] == ["tiny"]


@pytest.mark.parametrize("stop_code", [3, 143])
def test_a_training_stops_when_it_is_asked_to(
    app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer, stop_code: int
) -> None:
    run_id = start(app, researcher, dataset_id)
    at_work = threading.Thread(
        target=tasks.run_training, args=(app, run_id), kwargs={"trainer": trainer("hangs", stop_code)}, daemon=True
    )
    at_work.start()
    wait_for(lambda: run_of(app, run_id).epochs["curve"])
    assert run_of(app, run_id).state == "running"
    with app.database.writing() as session:
        runs.stop_run(session, researcher, run_id)
    at_work.join(60)
    run = run_of(app, run_id)
    assert (run.state, run.digest) == ("stopped", None)
    assert not (app.settings.data / "training" / run_id).exists()
    with pytest.raises(Conflict, match="ended already"), app.database.writing() as session:
        runs.stop_run(session, researcher, run_id)


def test_one_that_waits_stops_at_once_and_never_runs(
    app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer
) -> None:
    run_id = start(app, researcher, dataset_id)
    with app.database.writing() as session:
        runs.stop_run(session, researcher, run_id)
    tasks.run_training(app, run_id, trainer=trainer("fails"))
    assert run_of(app, run_id).state == "stopped"


def test_a_runner_that_stops_leaves_off_and_the_next_goes_on(
    app: AppContext,
    researcher: Actor,
    dataset_id: str,
    trainer: Trainer,
    seen: Callable[[], dict[str, Any]],
) -> None:
    run_id = start(app, researcher, dataset_id)

    def runner() -> Runner:
        return Runner(app.database, {"train": LongHandler(partial(tasks.run_training, app, trainer=trainer("hangs")))})

    first = runner()
    first.start()
    wait_for(lambda: run_of(app, run_id).epochs["curve"])
    first.stop(30)
    folder = app.settings.data / "training" / run_id
    assert not (folder / "images").exists()
    assert (folder / "classifier" / "checkpoint").is_file()
    with app.database.reading() as session:
        job = session.scalars(select(Job).where(Job.kind == "train")).one()
        assert (job.state, job.attempts, job.owner) == ("waiting", 0, None)
    assert seen()["resumed"] is False
    (folder / "classifier" / "go").touch()
    assert runner().run_pending(long=True) == 1
    assert seen()["resumed"] is True
    assert run_of(app, run_id).state == "done"
    assert not folder.exists()


KILLED = """
import sys, threading
from pathlib import Path
from medhub.entrypoints.bootstrap import build
from medhub.foundation.settings import Settings
from medhub.training import tasks
app = build(Settings(data=Path(sys.argv[1]), database_url=sys.argv[2] or None, pathways=Path(sys.argv[3]),
                       classifiers=Path(sys.argv[4]), master_key="07" * 32), migrate=False)
tasks.run_training(app, sys.argv[5], trainer=tuple(sys.argv[6:]))
"""


def test_a_server_that_is_killed_takes_its_trainer_along_and_the_next_goes_on(
    app: AppContext,
    researcher: Actor,
    dataset_id: str,
    trainer: Trainer,
    seen: Callable[[], dict[str, Any]],
) -> None:
    run_id = start(app, researcher, dataset_id)
    settings = app.settings
    paths = (settings.data, settings.database_url or "", settings.pathways, settings.classifiers)
    server = subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, paths), run_id, *trainer("hangs")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_for(lambda: run_of(app, run_id).epochs["curve"] or server.poll() is not None)
    assert server.poll() is None
    server.send_signal(signal.SIGKILL)
    server.wait(10)
    folder = settings.data / "training" / run_id
    wait_for(lambda: not trainers(folder))
    tasks.remove_old_folders(app)
    assert folder.is_dir()  # it is still to be finished
    (folder / "classifier" / "go").touch()
    tasks.run_training(app, run_id, trainer=trainer("hangs"))
    assert seen()["resumed"] is True
    assert run_of(app, run_id).state == "done"


def trainers(folder: Path) -> list[int]:
    """The processes that were given a folder."""
    process_ids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes():
                process_ids.append(int(process.name))
        except OSError:
            continue
    return process_ids


def test_what_nobody_works_at_is_swept(app: AppContext, researcher: Actor, dataset_id: str) -> None:
    folders = app.settings.data / "training"
    tasks.remove_old_folders(app)  # before there was any
    run_id = start(app, researcher, dataset_id)
    for name in (run_id, "left-behind"):
        (folders / name / "images").mkdir(parents=True)
    tasks.remove_old_folders(app)
    assert [path.name for path in folders.iterdir()] == [run_id]


def test_an_erased_patient_ends_the_training(
    app: AppContext,
    researcher: Actor,
    administrator: Actor,
    dataset_id: str,
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    seen: Callable[[], dict[str, Any]],
) -> None:
    monkeypatch.setattr(tasks, "ERASURE_CHECK_S", 0.1)
    run_id = start(app, researcher, dataset_id)
    at_work = threading.Thread(
        target=tasks.run_training, args=(app, run_id), kwargs={"trainer": trainer("hangs")}, daemon=True
    )
    at_work.start()
    wait_for(lambda: run_of(app, run_id).epochs["curve"])
    with app.database.writing() as session:
        patient_id = session.scalars(select(DataSetRow.patient_id).where(DataSetRow.number == 1)).one()
        erase_patient(session, app, administrator, str(patient_id))
    at_work.join(60)
    run = run_of(app, run_id)
    assert run.state == "failed"
    assert "was erased" in str(run.failure)
    assert not (app.settings.data / "training" / run_id).exists()
    again = start(app, researcher, dataset_id)
    tasks.run_training(app, again, trainer=trainer())
    assert run_of(app, again).state == "done"
    assert len(seen()["rows"]) == 15


def test_a_training_that_takes_its_process_down_again_and_again_is_given_up(
    app: AppContext, researcher: Actor, dataset_id: str
) -> None:
    run_id = start(app, researcher, dataset_id)
    tasks.give_up(app, run_id)
    assert run_of(app, run_id).state == "failed"


def test_long_jobs_hold_up_no_other(app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer) -> None:
    ran = threading.Event()
    run_id = start(app, researcher, dataset_id)
    handlers: dict[str, Handler] = {
        "train": LongHandler(partial(tasks.run_training, app, trainer=trainer("hangs"))),
        "note": lambda: ran.set(),
    }
    runner = Runner(app.database, handlers)
    runner.start()
    try:
        wait_for(lambda: run_of(app, run_id).epochs["curve"])
        with app.database.writing() as session:
            enqueue(session, "note", {})
        assert ran.wait(30)
        assert runner.alive
    finally:
        runner.stop(30)


# What may be asked for.


@pytest.mark.parametrize(
    "recipe",
    [
        "no-such-recipe",
        "../../etc/passwd",
        "[preprocessing]\nsize = 1\n",
        'start_from = "/etc/passwd"\n[preprocessing]\nsize = 64\nmean = [0,0,0]\nstd = [1,1,1]\n',
        "[preprocessing]\nsize = 64\nmean = [0,0,0]\nstd = [1,1,1]\n[distillation]\nteacher = '/etc'\n",
        "[preprocessing]\nsize = 64\nmean = [0,0,0]\nstd = [1,1,1]\n[[strangers]]\nname = 'x'\npattern = '../*'\n",
        "a = ",
    ],
)
def test_a_recipe_that_cannot_be_followed_is_told(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        run_requests.check_request(Settings(data=tmp_path), recipe, None)


def test_each_recipe_that_is_offered_can_be_followed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    offered = run_requests.shipped_recipes()
    assert "quick" in [item.name for item in offered]
    for item in offered:
        if item.needs_start:
            with pytest.raises(Invalid, match="starts from"):
                run_requests.check_request(settings, item.name, None)
        assert run_requests.check_request(settings, item.name, "none") == (item.name, None, "none")


def test_a_recipe_of_ones_own_is_handed_over(
    app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer, seen: Callable[[], dict[str, Any]]
) -> None:
    text = "[preprocessing]\nsize = 64\nmean = [0,0,0]\nstd = [1,1,1]\n"
    run_id = start(app, researcher, dataset_id, recipe=text)
    tasks.run_training(app, run_id, trainer=trainer())
    assert run_of(app, run_id).state == "done"
    assert seen()["recipe"].endswith(f"{run_id}/recipe.toml")


def test_a_starting_point_is_published_or_lies_in_the_folder_of_weights(app: AppContext) -> None:
    folder = run_requests.weights_folder_of(app.settings)
    folder.mkdir()
    (folder / "base.safetensors").touch()
    assert run_requests.check_initialization(app.settings, None) is None
    assert run_requests.check_initialization(app.settings, " none ") == "none"
    assert (
        run_requests.check_initialization(app.settings, "timm:mobilenetv2_100.ra_in1k")
        == "timm:mobilenetv2_100.ra_in1k"
    )
    assert run_requests.check_initialization(app.settings, "base.safetensors") == "base.safetensors"
    for init in ("other.safetensors", "../medhub.sqlite", "base.pt", "timm:../x", "/etc/passwd", "--out"):
        with pytest.raises(Invalid):
            run_requests.check_initialization(app.settings, init)


def test_who_may_start_see_and_stop(app: AppContext, people: People, researcher: Actor, dataset_id: str) -> None:
    with pytest.raises(NotAllowed):
        start(app, people.actor(app, Role.PHYSICIAN), dataset_id)
    with pytest.raises(NotFound):
        start(app, people.outsider(app), dataset_id)
    run_id, outsider = start(app, researcher, dataset_id), people.outsider(app)
    with app.database.writing() as session:
        for act in (runs.get_run, runs.stop_run):
            with pytest.raises(NotFound):
                act(session, outsider, run_id)


def test_a_stopping_runner_ends_the_writing_of_images(
    app: AppContext, researcher: Actor, dataset_id: str, trainer: Trainer
) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(JobInterrupted):
        tasks.run_training(app, start(app, researcher, dataset_id), stopping=stopping, trainer=trainer())
