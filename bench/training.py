# SPDX-License-Identifier: Apache-2.0
"""Images that a training learns from in a second: ``python bench/training.py``.

The project's own loop, as ``medhub train`` runs it, beside a plain torch loop with settings like timm's script has:
AdamW, a DataLoader with workers that vary each image, channels last, the same precision. Variation, preparation ahead
of time, clipping and the look at the validation images after the epoch are left out of neither. Both in turn, on the
same images, in one run.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from medhub.science.inference.preprocessing import Preprocessing
from medhub.science.learning import training_loop
from medhub.science.learning.architectures import build_network
from medhub.science.learning.dataset import ImageSet
from medhub.science.learning.image_augmentation import vary
from medhub.science.learning.recipe import Augmentation, NetworkRecipe, Recipe, Training

CLASSES = 8
NETWORKS = {"hrnet-w18-small": 128, "mobilenetv2": 160}
BATCH = 32
VALIDATED = 8


class Varied(Dataset[tuple[Tensor, int]]):
    """Images, each varied by the worker that fetches it."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images.images[index]).permute(2, 0, 1)[None].float() / 255
        return vary(image, Augmentation(), torch.Generator().manual_seed(index))[0] * 2 - 1, int(
            self.images.targets[index]
        )


def to_tensor(images: ImageSet, index: int) -> Tensor:
    return torch.from_numpy(images.images[index]).permute(2, 0, 1).float() / 127.5 - 1


def plain(name: str, images: ImageSet) -> float:
    """Images a second of the plain loop."""
    torch.manual_seed(0)
    network = build_network(name, CLASSES).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    loader = DataLoader(Varied(images), BATCH, shuffle=True, num_workers=1, drop_last=True, persistent_workers=True)
    start, seen = 0.0, 0
    for epoch in range(2):  # the first starts the workers and warms up
        start, seen = time.perf_counter(), 0
        for batch, targets in loader:
            logits = network(batch.to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            seen += len(targets)
        network.eval()
        with torch.inference_mode():
            network(torch.stack([to_tensor(images, index) for index in range(VALIDATED)]))
        network.train()
        del epoch
    return seen / (time.perf_counter() - start)


def ours(name: str, images: ImageSet) -> tuple[float, float]:
    """Images a second of the project's loop, and the share of the time that steps waited for their batch."""
    torch.manual_seed(0)
    side = images.images.shape[1]
    recipe = Recipe(
        network=NetworkRecipe(architecture=name),
        preprocessing=Preprocessing(size=side, mean=(127.5,) * 3, std=(127.5,) * 3),
        training=Training(epochs=2, batch_size=BATCH, precision="float32", learning_rate=1e-3),
    )
    few = ImageSet(images.images[:VALIDATED], images.targets[:VALIDATED])
    learned = training_loop.train(build_network(name, CLASSES), recipe, images, few)
    epoch = learned.curves[-1]
    return len(images.targets) // BATCH * BATCH / epoch.seconds, epoch.waited


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=192)
    options = parser.parse_args()
    chance = np.random.default_rng(0)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, batches of {BATCH}; "
        f"load {os.getloadavg()[0]:.1f}\n"
    )
    print("| network | side | plain loop, images/s | ours, images/s | ratio | waiting for data |")
    print("|---|---|---|---|---|---|")
    verdicts = []
    for name, side in NETWORKS.items():
        count = options.images
        images = ImageSet(
            chance.integers(0, 256, (count, side, side, 3), np.uint8), np.arange(count, dtype=np.int64) % CLASSES
        )
        rates: list[tuple[float, float, float]] = []
        for _ in range(options.rounds):
            theirs = plain(name, images)
            rates.append((theirs, *ours(name, images)))
        theirs, mine, waited = (statistics.median(values) for values in zip(*rates, strict=True))
        ratio = statistics.median(b / a for a, b, _ in rates)
        print(f"| {name} | {side} | {theirs:.1f} | {mine:.1f} | {ratio:.2f} | {waited:.1%} |")
        verdicts.append(
            f"- {name}: at least as fast as the plain loop: {'met' if ratio >= 1 else 'NOT met'} ({ratio:.2f})"
        )
        verdicts.append(f"- {name}: waiting under 10 %: {'met' if waited < 0.1 else 'NOT met'} ({waited:.1%})")
    print("\n" + "\n".join(verdicts))
    print(f"\nMost memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
