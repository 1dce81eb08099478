# SPDX-License-Identifier: Apache-2.0
"""What each process of a distributed training runs in the tests: ``worker.py DATA WEIGHTS``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from medhub.science.learning import training_loop
from medhub.science.learning.architectures import build_network, register
from medhub.science.learning.dataset import labels_of, load_images, part_of, read_listing
from medhub.science.learning.distributed import join_processes
from medhub.science.learning.recipe import read_recipe
from medhub.science.learning.safetensors_file import write_safetensors
from medhub.science.learning.seeding import fix_seed
from tests.science.learning.discs import RECIPE, TINY


def main(data: Path, weights: Path) -> None:
    """Learn the colors of discs, and keep the weights."""
    torch.set_num_threads(1)
    register(TINY)
    recipe = read_recipe(RECIPE.replace("batch_size = 6", "batch_size = 12").replace("epochs = 10", "epochs = 4"))
    rows = read_listing(data / "split.csv")
    parts = [load_images(part_of(rows, part), labels_of(rows), recipe.preprocessing) for part in ("train", "val")]
    with fix_seed(42, 1), join_processes("cpu") as processes:
        network = build_network("tiny", 3)
        training_loop.train(network, recipe, parts[0], parts[1], processes=processes)
        if processes.leads:
            write_safetensors(weights, network.state_dict())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
