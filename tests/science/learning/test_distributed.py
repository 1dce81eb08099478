# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.science.optional_packages import need

need("torch", "safetensors")

import torch  # noqa: E402

from medhub.errors import Invalid  # noqa: E402
from medhub.science.learning.distributed import ProcessGroup, join_processes  # noqa: E402
from medhub.science.learning.safetensors_file import read_safetensors  # noqa: E402
from tests.science.learning.discs import draw_discs  # noqa: E402

ROOT = Path(__file__).parents[3]


def _learn(data: Path, weights: Path, processes: int) -> dict[str, torch.Tensor]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.science.learning.worker", str(data), str(weights)],
            cwd=ROOT,
            env=os.environ
            | {
                "WORLD_SIZE": str(processes),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for rank in range(processes)
    ]
    assert [process.wait(180) for process in running] == [0] * processes
    return read_safetensors(weights)


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = draw_discs(tmp_path / "data")
    alone = _learn(data, tmp_path / "one.safetensors", 1)
    together = _learn(data, tmp_path / "two.safetensors", 2)
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        assert torch.allclose(together[name].float(), value.float(), rtol=1e-3, atol=1e-4), name


def test_a_batch_is_shared_out_in_pairs() -> None:
    assert ProcessGroup(1, 2).share(12) == slice(6, 12)
    with pytest.raises(Invalid, match="multiple of 4"):
        ProcessGroup(0, 2).share(6)


def test_alone_nothing_is_shared() -> None:
    with join_processes("cpu") as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)
        assert world.agree(True)
        assert world.mean(0.5) == 0.5
    if not torch.cuda.is_available():
        with pytest.raises(Invalid, match="CUDA"), join_processes("cuda"):
            pass
