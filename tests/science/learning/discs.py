# SPDX-License-Identifier: Apache-2.0
"""Images of discs of three colors, and a small architecture that learns them within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medhub.science.learning.network import Architecture, Network


class Tiny(Network):
    """Small enough to learn three colors within a second."""

    def __init__(self, classes: int, *, hidden: int = 0) -> None:
        super().__init__()
        self.shallow = torch.nn.Conv2d(3, 8, 3, stride=4, padding=1, bias=False)  # normalization follows
        self.bn = torch.nn.BatchNorm2d(8)
        self.deep = torch.nn.Conv2d(8, 64, 3, stride=2, padding=1)
        self.add_head(64, classes, hidden)

    def maps(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Two maps."""
        shallow = torch.relu(self.bn(self.shallow(images)))
        return shallow, torch.relu(self.deep(shallow))


TINY = Architecture("tiny", Tiny, input_size=32)

COLORS = {"blue": (70, 70, 200), "green": (70, 190, 70), "red": (200, 70, 70)}
RECIPE = """
strangers = [{ name = "stripes", pattern = "stripes/*.png" }]
[about]
name = "discs"
version = "1"
title = "Discs by color"
licence = "Apache-2.0"
intended_use = "tests"
not_for = ["anything else"]
[network]
architecture = "tiny"
dropout = 0.0
[training]
epochs = 10
batch_size = 6
learning_rate = 1e-2
precision = "float32"
[preprocessing]
size = 32
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
[augmentation]
[novelty]
components = 4
passes = 1
[source]
name = "discs"
use = "all"
licence = "none needed"
attribution = "drawn"
source = "this test"
split = "drawn"
"""


def draw_discs(folder: Path) -> Path:
    """Draw 72 discs, 36 to learn from, and some stripes."""
    chance = np.random.default_rng(0)
    row, column = np.mgrid[0:40, 0:40]
    lines = ["path,label,group,split"]
    for index in range(72):
        label = list(COLORS)[index % 3]
        image = chance.normal(225, 6, (40, 40, 3))
        disc = np.hypot(row - chance.uniform(8, 32), column - chance.uniform(8, 32)) < chance.uniform(6, 16)
        image[disc] = np.array(COLORS[label]) + chance.normal(0, 8, (int(disc.sum()), 3))
        path = f"{index:03}.png"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / path)
        lines.append(f"{path},{label},{index},{('train', 'train', 'val', 'test')[index // 3 % 4]}")
    (folder / "split.csv").write_text("\n".join(lines) + "\n")
    (folder / "stripes").mkdir()
    for index in range(3):
        stripes = np.where((column // (index + 2)) % 2 == 0, 0, 255).astype(np.uint8)
        Image.fromarray(np.repeat(stripes[..., None], 3, 2)).save(folder / "stripes" / f"{index}.png")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder
