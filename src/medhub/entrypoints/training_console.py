# SPDX-License-Identifier: Apache-2.0
"""Progress of a training in a terminal, and as JSON lines in a file."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from medhub.science.learning.training_progress import Epoch

_BARS = "▁▂▃▄▅▆▇█"


class ConsoleObserver:
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

    def __enter__(self) -> ConsoleObserver:
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
        """Show and write an epoch."""
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
