# SPDX-License-Identifier: Apache-2.0
"""Train the network that tells which areas of a reconstructed image may contain text.

    python tools/train_text_gate.py FOLDER [FOLDER ...] [--batches 5000] [--target PATH]

The folders hold images without text (DICOM), over which text is drawn; generated backgrounds are added. Text has 7 to
24 pixels in height, any of four directions, and at least a fifth of the displayed range in contrast. The network sees
each image at several scales, so that larger text has this height at one of them.

The same images, seed and versions of the libraries give the same weights. docs/decisions/0020-text-gate.md describes
the training of the weights in the repository. The extra "train" must be installed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from medhub.science.deid.text_gate import CELL, to_levels
from medhub.science.imaging.rendering.frames import read_picture_and_values

SIDE = 128
BATCH = 48
CHANNELS = (8, 16, 24, 24, 24)
FONTS = sorted((Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf").glob("*.ttf"))
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SIGNS = " .,:-/^#()_ÄÖÜéñç"


def main() -> None:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--batches", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--target", type=Path, default=Path("src/medhub/science/deid/tables/text_gate.onnx"))
    options = parser.parse_args()
    images = list(read_images(options.folders))
    print(f"{len(images)} images without text", flush=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    network = build_network()
    queue: Any = multiprocessing.Queue(8)
    maker = multiprocessing.Process(target=make_batches, args=(queue, images, options.seed), daemon=True)
    maker.start()
    try:
        train(network, queue, options.batches, options.target)
    finally:
        maker.kill()


def build_network() -> nn.Sequential:
    """Build the network: convolutions of 3 x 3, the first three with a stride of 2."""
    layers: list[nn.Module] = []
    before = 1
    for number, channels in enumerate(CHANNELS):
        layers += [nn.Conv2d(before, channels, 3, stride=2 if number < 3 else 1, padding=1), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Conv2d(before, 1, 1))


def train(network: nn.Sequential, queue: Any, batches: int, target: Path) -> None:
    """Train, and write the network now and then; the learning rate falls to zero."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches)
    start = time.monotonic()
    losses: list[float] = []
    while len(losses) < batches:
        levels, labels, weights = (torch.from_numpy(array) for array in queue.get())
        outputs = network(levels)[:, 0]
        each = nn.functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
        loss = (each * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if len(losses) % 100 == 0:
            print(
                f"{time.monotonic() - start:5.0f} s, {len(losses)} batches, loss {np.mean(losses[-100:]):.4f}",
                flush=True,
            )
        if len(losses) % 500 == 0:
            save(network, target)
    save(network, target)


def save(network: nn.Sequential, target: Path) -> None:
    """Write the network; it takes images of any size in multiples of a cell."""
    axes = {0: "planes", 2: "rows", 3: "columns"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, SIDE, SIDE),),
            target,
            dynamo=False,
            opset_version=17,
            input_names=["levels"],
            output_names=["outputs"],
            dynamic_axes={"levels": axes, "outputs": axes},
        )


def read_images(folders: list[Path]) -> Iterator[NDArray[np.uint8]]:
    """Read the levels of the first frame of each file, as displayed and as stored."""
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        try:
            picture, values = read_picture_and_values(path.read_bytes())
        except Exception as error:
            print(f"{path.name} is not used: {error}")
            continue
        yield to_levels(picture[..., 0], displayed=True)
        if values is not None:
            yield to_levels(values)


def make_batches(queue: Any, images: list[NDArray[np.uint8]], seed: int) -> None:
    """Make batches without end."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    while True:
        patches = [make_patch(random, images) for _ in range(BATCH)]
        levels, labels, weights = (np.stack(part) for part in zip(*patches, strict=True))
        queue.put((levels[:, None], labels, weights))


Patch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def make_patch(random: np.random.Generator, images: list[NDArray[np.uint8]]) -> Patch:
    """Make a patch of levels, the labels of its cells, and their weights; the edges of text count for nothing."""
    values = _real_patch(random, images) if random.random() < 0.6 else _generated_patch(random)
    text, edge = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)
    for _ in range(random.integers(0, 4) if random.random() < 0.75 else 0):
        _draw_text(random, values, text, edge)
    if random.random() < 0.2:
        values = _blur(values, random.uniform(0.3, 0.6))
    image = np.clip(values, 0, 255).astype(np.uint8)
    if random.random() < 0.1:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(50, 95))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    cells = (SIDE // CELL, CELL, SIDE // CELL, CELL)
    labels = (text.reshape(cells).mean((1, 3)) > 0.6).astype(np.float32)
    unclear = edge.reshape(cells).max((1, 3)) * (1 - labels)
    levels = np.asarray(image, np.float32) / np.float32(255) - np.float32(0.5)
    return levels, labels, np.asarray((1 - unclear) * (1 + labels), np.float32)


def _blur(values: NDArray[np.float32], width: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), width), np.float32)


def _real_patch(random: np.random.Generator, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    image = images[random.integers(len(images))]
    side = int(SIDE * np.exp(random.uniform(np.log(0.4), np.log(4.0))))
    rows, columns = min(side, image.shape[0]), min(side, image.shape[1])
    y, x = random.integers(0, image.shape[0] - rows + 1), random.integers(0, image.shape[1] - columns + 1)
    part = image[y : y + rows, x : x + columns]
    way = cv2.INTER_AREA if min(rows, columns) > SIDE else cv2.INTER_LINEAR
    part = np.rot90(np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=way), np.uint8), int(random.integers(4)))
    part = part[:, ::-1] if random.random() < 0.5 else part
    values = part.astype(np.float32) - 64
    if random.random() < 0.3:
        values = 127 - values
    if random.random() < 0.5:
        values = (values - 64) * float(random.uniform(0.6, 1.6)) + 64
    values = values + 64
    if random.random() < 0.3:
        values = values + random.normal(0, random.uniform(1, 10), values.shape).astype(np.float32)
    return np.asarray(values, np.float32)


def _generated_patch(random: np.random.Generator) -> NDArray[np.float32]:
    values = np.full((SIDE, SIDE), random.uniform(64, 192), np.float32)
    if random.random() < 0.3:
        values[:] = 64 if random.random() < 0.8 else 191
    if random.random() < 0.6:
        step = int(random.integers(6, 70))
        coarse = random.random((SIDE // step + 2, SIDE // step + 2)).astype(np.float32)
        values += (cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) - 0.5) * random.uniform(10, 160)
    for _ in range(random.integers(0, 9)):
        _draw_shape(random, values)
    if random.random() < 0.25:
        _draw_grating(random, values)
    if random.random() < 0.6:
        noise = random.normal(0, random.uniform(1, 30), values.shape).astype(np.float32)
        if random.random() < 0.6:
            noise = _blur(noise, random.uniform(0.4, 2)) * np.float32(random.uniform(1, 3))
        values += noise
    if random.random() < 0.15:
        values = 64 + (values - 64) * random.rayleigh(0.7, values.shape).astype(np.float32)
    return np.asarray(values, np.float32)


def _draw_shape(random: np.random.Generator, values: NDArray[np.float32]) -> None:
    """Draw a bone, vessel, catheter, frame or ring."""
    level, thickness = float(random.uniform(40, 215)), int(random.integers(1, 8))
    first, second = ((int(a), int(b)) for a, b in random.integers(-20, SIDE + 20, (2, 2)))
    kind = random.integers(5)
    layer = values.copy()
    if kind == 0:
        cv2.line(layer, first, second, level, thickness, cv2.LINE_AA)
    elif kind == 1:
        axes = (int(random.integers(3, 90)), int(random.integers(3, 90)))
        turn, end = float(random.uniform(0, 180)), float(random.uniform(60, 360))
        cv2.ellipse(layer, first, axes, turn, 0, end, level, thickness, cv2.LINE_AA)
    elif kind == 2:
        axes = (int(random.integers(2, 60)), int(random.integers(2, 60)))
        cv2.ellipse(layer, first, axes, float(random.uniform(0, 180)), 0, 360, level, -1, cv2.LINE_AA)
    elif kind == 3:
        cv2.rectangle(layer, first, second, level, thickness if random.random() < 0.7 else -1)
    else:
        points = np.cumsum(random.normal(0, random.uniform(3, 14), (12, 2)), 0) + first
        cv2.polylines(layer, [points.astype(np.int32)], False, level, thickness, cv2.LINE_AA)
    if random.random() < 0.6:
        layer = _blur(layer, random.uniform(0.4, 2.5))
    values[:] = layer


def _draw_grating(random: np.random.Generator, values: NDArray[np.float32]) -> None:
    """Draw lines at equal distances: a scale, a grid, the slats of a collimator, ribs."""
    period, width = int(random.integers(4, 30)), int(random.integers(1, 5))
    x0, y0 = random.integers(0, SIDE, 2)
    x1, y1 = x0 + random.integers(8, SIDE), y0 + random.integers(4, SIDE)
    layer = np.zeros_like(values)
    layer[y0:y1, [x for x in range(x0, min(x1, SIDE)) if (x - x0) % period < width]] = 1
    if random.random() < 0.5:
        layer = layer.T
    angle = 0.0 if random.random() < 0.6 else float(random.uniform(0, 180))
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, 1)
    layer = np.asarray(cv2.warpAffine(layer, turn, (SIDE, SIDE)), np.float32)
    values += layer * float(random.uniform(-120, 120))


def _draw_text(
    random: np.random.Generator, values: NDArray[np.float32], text: NDArray[np.float32], edge: NDArray[np.float32]
) -> None:
    """Draw a text of 2 to 20 characters, which may continue beyond the patch."""
    drawn = _render(random, _random_text(random))
    if random.random() < 0.15:
        drawn = _blur(drawn, random.uniform(0.4, 0.7))
    turns = random.choice(4, p=(0.7, 0.13, 0.04, 0.13))
    drawn = np.rot90(drawn, turns)
    box = np.ones_like(drawn)
    if random.random() < 0.15:
        drawn, box = _rotate(drawn, box, float(random.uniform(-15, 15)))
    rows, columns = drawn.shape
    y, x = (int(random.uniform(-length / 2, SIDE - length / 3)) for length in (rows, columns))
    part = (slice(max(0, y), min(SIDE, y + rows)), slice(max(0, x), min(SIDE, x + columns)))
    of_text = (slice(part[0].start - y, part[0].stop - y), slice(part[1].start - x, part[1].stop - x))
    drawn, box = drawn[of_text], box[of_text]
    if min(drawn.shape) < 4 or edge[part].any():
        return
    under = values[part]
    contrast = 127 * float(np.exp(random.uniform(np.log(0.2), np.log(1.0))))
    bright, dark = float(np.percentile(under, 95)), float(np.percentile(under, 5))
    level = bright + contrast if random.random() < 0.65 else dark - contrast
    if random.random() < 0.08:  # a sign on a plate of its own
        under[:] = float(random.uniform(64, 192))
        level = float(under[0, 0]) + contrast * random.choice((-1, 1))
    values[part] = under * (1 - drawn) + min(max(level, 0), 255) * drawn
    text[part] = np.maximum(text[part], box)
    around = (slice(max(0, part[0].start - 6), part[0].stop + 6), slice(max(0, part[1].start - 6), part[1].stop + 6))
    edge[around] = 1


def _random_text(random: np.random.Generator) -> str:
    length = int(np.clip(random.normal(9, 5), 2, 20))
    kind = random.random()
    letters = CHARACTERS[-10:] if kind < 0.3 else CHARACTERS[:26] if kind < 0.6 else CHARACTERS
    text = "".join(letters[random.integers(len(letters))] for _ in range(length))
    for _ in range(random.integers(0, 1 + length // 4)):
        at = int(random.integers(length))
        text = text[:at] + SIGNS[random.integers(len(SIGNS))] + text[at:]
    return text


def _render(random: np.random.Generator, text: str) -> NDArray[np.float32]:
    """Render a text with capitals of 7 to 24 pixels: 0 to 1, in the box of its ink."""
    size = int(np.exp(random.uniform(np.log(9), np.log(32))))
    kind = random.random()
    if kind > 0.85:
        drawn = _invented_script(random, size, len(text))
    elif kind < 0.15:
        scale, weight = size / 30, max(1, round(size / 14))
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
        drawn = np.zeros((height + below + 4, width + 4), np.uint8)
        line = cv2.LINE_AA if random.random() < 0.5 else cv2.LINE_8
        cv2.putText(drawn, text, (2, height + 2), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, weight, line)
    else:
        font = ImageFont.load_default_imagefont() if kind < 0.25 else _font(random, size)
        text = text if kind >= 0.25 else text.encode("latin-1", "replace").decode("latin-1")
        left, top, right, bottom = font.getbbox(text)
        image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        draw = ImageDraw.Draw(image)
        draw.fontmode = "1" if random.random() < 0.3 else "L"
        draw.text((1 - left, 1 - top), text, fill=255, font=font)
        drawn = np.asarray(image)
        if kind < 0.25:
            times = int(random.integers(1, 3))
            drawn = drawn.repeat(times, 0).repeat(times, 1)
    inked = np.argwhere(drawn > 60)
    if not len(inked):
        return np.zeros((1, 1), np.float32)
    (y0, x0), (y1, x1) = inked.min(0), inked.max(0)
    return np.asarray(drawn[y0 : y1 + 1, x0 : x1 + 1], np.float32) / np.float32(255)


def _invented_script(random: np.random.Generator, size: int, length: int) -> NDArray[np.uint8]:
    """Draw characters of a few strokes each, as many scripts have them, some of them joined."""
    height = max(7, round(0.8 * size))
    width, gap = round(height * random.uniform(0.5, 1.1)), int(random.integers(-1, 1 + height // 4))
    weight = max(1, round(height / random.uniform(7, 14)))
    drawn = np.zeros((height + 2, length * (width + gap) + width + 2), np.uint8)
    for number in range(length):
        left = 1 + number * (width + gap)
        for _ in range(random.integers(2, 6)):
            first, second = ((left + int(random.integers(width)), 1 + int(random.integers(height))) for _ in range(2))
            if random.random() < 0.6:  # along an axis
                second = (second[0], first[1]) if random.random() < 0.5 else (first[0], second[1])
            if random.random() < 0.8:
                cv2.line(drawn, first, second, 255, weight, cv2.LINE_AA)
            else:
                axes = (max(1, width // 2), max(1, int(random.integers(1, height))))
                start = float(random.uniform(0, 360))
                cv2.ellipse(drawn, first, axes, 0, start, start + 180, 255, weight, cv2.LINE_AA)
    return drawn


def _font(random: np.random.Generator, size: int) -> Any:
    usable = [
        path
        for path in FONTS
        if not any(word in path.name for word in ("Sym", "Siz", "cmex", "cmsy", "cmmi", "Disp", "Last"))
    ]
    return ImageFont.truetype(usable[random.integers(len(usable))], size)


def _rotate(drawn: NDArray[Any], box: NDArray[Any], angle: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = drawn.shape
    side = int(np.hypot(rows, columns)) + 2
    turn = cv2.getRotationMatrix2D((columns / 2, rows / 2), angle, 1)
    turn[:, 2] += (side / 2 - columns / 2, side / 2 - rows / 2)
    both = [cv2.warpAffine(np.ascontiguousarray(layer), turn, (side, side)) for layer in (drawn, box)]
    inked = np.argwhere(both[1] > 0.5)
    (y0, x0), (y1, x1) = inked.min(0), inked.max(0)
    first, second = (np.asarray(layer[y0 : y1 + 1, x0 : x1 + 1], np.float32) for layer in both)
    return first, second


if __name__ == "__main__":
    main()
