# SPDX-License-Identifier: Apache-2.0
"""The trainer: a process of its own with its files, its command line and its progress file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medhub.foundation.app_context import AppContext
from medhub.training import run_requests
from medhub.training.models import TrainingRun
from medhub.training.run_progress import Progress

TRAINER = (sys.executable, "-m", "medhub.entrypoints.cli", "train")
# The trainer ends with the process that started it, so that two trainers never write into one folder. Its priority is
# low: users wait for the server, not for a training.
DIE_WITH_PARENT = (
    "import ctypes,os,sys\n"
    "if sys.platform=='linux': ctypes.CDLL(None).prctl(1,9,0,0,0)\n"
    "if os.getppid()!=int(sys.argv[1]): os._exit(1)\n"
    "os.nice(10)\n"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
STOPPED_CODES = {3, 143, -signal.SIGTERM}
SHUTDOWN_S = 8.0


@dataclass(frozen=True)
class TrainerFiles:
    """The files of one training: inputs, output, progress and log."""

    folder: Path
    files: int

    @property
    def images(self) -> Path:
        """Folder of the images."""
        return self.folder / "images"

    @property
    def listing(self) -> Path:
        """The CSV of labels and parts."""
        return self.folder / "data.csv"

    @property
    def progress(self) -> Path:
        """The progress file."""
        return self.folder / "progress.jsonl"

    @property
    def out(self) -> Path:
        """Folder of the classifier."""
        return self.folder / "classifier"

    @property
    def log(self) -> Path:
        """What the trainer printed."""
        return self.folder / "trainer.log"


def trainer_command(app: AppContext, run: TrainingRun, paths: TrainerFiles, trainer: Sequence[str]) -> list[str]:
    """The command line of a trainer."""
    recipe = run.recipe
    if run.recipe_text is not None:
        path = paths.folder / "recipe.toml"
        path.write_text(run.recipe_text, encoding="utf-8")
        recipe = str(path)
    command = [*trainer, recipe, "--data", str(paths.listing), "--root", str(paths.images), "--out", str(paths.out)]
    command += ["--name", run.name, "--progress", str(paths.progress), "--resume"]
    if run.init is not None:
        weights = run_requests.weights_folder_of(app.settings) / run.init
        command += ["--init", str(weights) if weights.is_file() else run.init]
    if run.overrule is not None:
        command += ["--overrule-leakage", run.overrule]
    return command


def trainer_environment() -> dict[str, str]:
    """The environment of a trainer: no setting and no secret of the server."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEDHUB_")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


class ProgressFile:
    """The progress file, read line by line while it grows."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._at, self._rest = path, 0, ""
        self.progress = progress

    def read_new(self) -> bool:
        """Read the new lines; return whether there were any."""
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
            self.progress = self.progress.after_line(line)
        return bool(lines)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process: by SIGTERM, and after eight seconds by SIGKILL."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(SHUTDOWN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_output(path: Path, code: int) -> str:
    """The last line of output of a trainer that reported no failure in its progress file."""
    lines = [line.strip() for line in path.read_bytes()[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    if code == -signal.SIGKILL:
        return "The trainer was ended by the system, most often because it took too much memory. Use a smaller batch."
    return lines[-1][:2000] if lines else f"The trainer ended with the code {code} and said nothing."
