# SPDX-License-Identifier: Apache-2.0
"""An installation that reads colors, and a trainer that learns nothing but says all that a trainer says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medhub.accounts.actor import Actor
from medhub.accounts.permissions import Role
from medhub.foundation.app_context import AppContext
from medhub.foundation.settings import Settings
from medhub.training import datasets
from tests.conftest import ROOT
from tests.factories.accounts import People
from tests.factories.colors import COLORS, lay_out, sign_case
from tests.science.inference import tiny

Trainer = Callable[..., tuple[str, ...]]


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """Settings of an installation that reads colors."""
    pathways, classifiers = lay_out(tmp_path)
    return Settings(
        data=tmp_path / "data",
        database_url=database_url,
        job_runners=0,
        pathways=pathways,
        classifiers=classifiers,
    )


@pytest.fixture
def researcher(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.RESEARCHER)


@pytest.fixture
def administrator(app: AppContext, people: People) -> Actor:
    return people.actor(app, Role.ADMINISTRATOR)


@pytest.fixture
def dataset_id(app: AppContext, people: People, researcher: Actor) -> str:
    """A version of the verdicts of six patients."""
    for seed in range(6):
        sign_case(app, people, ["red", "green", "blue"], seed)
    with app.database.writing() as session:
        return datasets.make_from_verdicts(
            session, app, researcher, project_id=people.project_id, pathway=COLORS, name=None
        ).id


FAKE = """
import json, os, pathlib, shutil, signal, sys, time
given = dict(zip(sys.argv[2::2], sys.argv[3::2])) if "--resume" not in sys.argv else None
words = sys.argv[1:]
recipe, options, i = words[0], {{}}, 1
while i < len(words):
    if words[i] == "--resume":
        options["--resume"] = ""; i += 1
    else:
        options[words[i]] = words[i + 1]; i += 2
out = pathlib.Path(options["--out"])
out.mkdir(parents=True, exist_ok=True)
file = open(options["--progress"], "a")
def say(**event):
    file.write(json.dumps(event) + "\\n"); file.flush()
def stop(*_):
    say(event="stopped"); sys.exit({stop_code})
signal.signal(signal.SIGTERM, stop)
mode = {mode!r}
root = pathlib.Path(options["--root"])
rows = [line.split(",") for line in pathlib.Path(options["--data"]).read_text().split()]
assert rows[0] == ["path", "label", "group", "split"], rows[0]
assert all((root / row[0]).is_file() for row in rows[1:])
assert oct(root.stat().st_mode & 0o777) == "0o700"
assert not [name for name in os.environ if name.startswith("MEDHUB_")]
pathlib.Path({seen!r}).write_text(json.dumps({{"recipe": recipe, "options": options, "rows": rows[1:],
    "resumed": (out / "checkpoint").exists()}}))
if mode == "absent":
    print("Not available now. Training needs packages that are not installed: torch.", file=sys.stderr); sys.exit(5)
say(event="stage", name="learning")
say(event="step", step=1, of=4, loss=0.9, eta_s=12.0)
say(event="epoch", epoch=1, of=2, stage="", loss=0.9, validation_loss=0.8, validation_accuracy=0.5,
    learning_rate=0.001, seconds=1.0)
(out / "checkpoint").write_text("weights")
if mode == "fails":
    say(event="failed", message="There is one label only."); sys.exit(1)
if mode == "hangs" and not (out / "go").exists():
    time.sleep(600)
say(event="epoch", epoch=2, of=2, stage="", loss=0.5, validation_loss=0.6, validation_accuracy=0.9,
    learning_rate=0.001, seconds=1.0)
sys.path.insert(0, {root!r})
from tests.science.inference import tiny
from medhub.science.inference.classifier import digest
made = tiny.folder(out / "made", name=json.dumps(options["--name"]), title='"Trained"')
for part in made.iterdir():
    shutil.copy(part, out)
(out / "report").mkdir(exist_ok=True)
(out / "report" / "curves.png").write_bytes(b"PNG")
say(event="done", digest=digest(out) if mode != "lies" else "0" * 64)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """Makes the command of a trainer: one that is well, fails, hangs, lies, or has no torch."""

    def make(mode: str = "well", stop_code: int = 3) -> tuple[str, ...]:
        program = tmp_path / f"trainer-{mode}.py"
        program.write_text(
            FAKE.format(mode=mode, seen=str(tmp_path / "seen.json"), root=str(ROOT), stop_code=stop_code)
        )
        return (sys.executable, str(program))

    return make


__all__ = ["tiny"]
