# SPDX-License-Identifier: Apache-2.0
"""Time from the bytes of an image to its result, one thread: ``python bench/inference.py``.

Both architectures with random weights of the real shapes (the time does not depend on their values), exported by the
project's own export and read by the class that serves; next to it the same network run by torch, and by OpenVINO where
that extra is installed, in the same run and in turn, so that other load on the machine falls on all. Then batches of
prepared images. Also the classifiers that ship, as they ship; and the 8-bit file where one was kept beside the model.
The server does not run that one, so no verdict counts it.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import medhub  # noqa: F401  # switches the telemetry of ONNX Runtime off before it is imported

# isort: split
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from medhub.science.inference.card import CARD_FILE, MODEL_FILE, ModelCard, NoveltyCard
from medhub.science.inference.classifier import INPUT, OUTPUTS, Classifier, session_options
from medhub.science.inference.preprocessing import Preprocessing, prepare
from medhub.science.learning.architectures import build_network
from medhub.science.learning.card_file import card_text
from medhub.science.learning.novelty import Novelty as Distance
from medhub.science.learning.novelty import fit_gaussians
from medhub.science.learning.onnx_export import Graph, export
from medhub.science.learning.quantization import INT8_FILE

ROOT = Path(__file__).resolve().parents[1]
LABELS = ("a", "b", "c", "d")
TARGETS_MS = {"mobilenetv2": 30.0, "hrnet-w18-small": 60.0}
TARGET_RATIO = 2.0
BATCH = 16


def photographs() -> list[bytes]:
    return [path.read_bytes() for path in sorted((ROOT / "demo").glob("*/*/*.jpg"))]


def decode(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def with_random_weights(name: str, folder: Path) -> tuple[Classifier, Graph]:
    chance = np.random.default_rng(0)
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=224, mean=(127.5,) * 3, std=(127.5,) * 3)
    network = build_network(name, len(LABELS)).eval()
    with torch.inference_mode():
        widths = [output.shape[1] for output in network.maps(torch.zeros(1, 3, 224, 224))]
    targets = np.arange(200) % len(LABELS)
    distance = Distance(
        [fit_gaussians(chance.normal(size=(200, width)), targets, 32) for width in widths], [1.0] * len(widths)
    )
    images = np.stack([np.asarray(Image.fromarray(decode(data)).resize((224, 224))) for data in photographs()[:4]])
    exported = export(network, distance, LABELS, preprocessing, images)
    card = ModelCard(
        name=name, version="0", title="for timing", architecture=name, licence="none", labels=LABELS,
        model_sha256=exported.sha256, temperature=1, intended_use="timing", not_for=("anything else",),
        trained_with="random weights", preprocessing=preprocessing,
        novelty=NoveltyCard(limit=1, quantile=0.99, method="random", basis="random"),
    )  # fmt: skip
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(exported.model)
    (folder / CARD_FILE).write_text(card_text(card), encoding="utf-8")
    return Classifier.load(folder), Graph(network, distance).eval()


def measure(ways: dict[str, Callable[[bytes], object]], rounds: int) -> dict[str, list[float]]:
    images = photographs()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        for data in images[:3]:
            way(data)
    for index in range(rounds):
        data = images[index % len(images)]
        for name, way in ways.items():
            start = time.perf_counter()
            way(data)
            times[name].append((time.perf_counter() - start) * 1000)
    return times


def measure_batches(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - start) * 1000)
    return times


def by_torch(graph: Graph, preprocessing: Preprocessing) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        with torch.inference_mode():
            return graph(torch.from_numpy(prepare(decode(data), preprocessing)))

    return run


def by_openvino(model: Path, preprocessing: Preprocessing) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    import openvino

    core: Any = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(str(model), "CPU", settings)
    batch = np.random.default_rng(0).normal(size=(BATCH, 3, 224, 224)).astype(np.float32)
    return lambda data: compiled(prepare(decode(data), preprocessing)), lambda: compiled(batch)


def batches(model: Path, graph: Graph) -> dict[str, Callable[[], object]]:
    batch = np.random.default_rng(0).normal(size=(BATCH, 3, 224, 224)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.read_bytes(), session_options(), providers=["CPUExecutionProvider"])

    def eager() -> object:
        with torch.inference_mode():
            return graph(torch.from_numpy(batch))

    return {"ONNX Runtime": lambda: session.run(list(OUTPUTS), {INPUT: batch}), "torch eager": eager}


def by_classifier(classifier: Classifier) -> Callable[[bytes], object]:
    return lambda data: classifier.classify(decode(data))


def by_file(model: Path, classifier: Classifier) -> Callable[[bytes], object]:
    session = onnxruntime.InferenceSession(model.read_bytes(), session_options(), providers=["CPUExecutionProvider"])
    preprocessing = classifier.card.preprocessing
    return lambda data: session.run(list(OUTPUTS), {INPUT: prepare(decode(data), preprocessing)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    ways: dict[str, Callable[[bytes], object]] = {}
    many: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in TARGETS_MS:
            classifier, graph = with_random_weights(name, Path(folder) / name)
            ways[f"{name} | ONNX Runtime"] = by_classifier(classifier)
            ways[f"{name} | torch eager"] = by_torch(graph, classifier.card.preprocessing)
            model = Path(folder) / name / MODEL_FILE
            many |= {f"{name} | {by}": way for by, way in batches(model, graph).items()}
            if find_spec("openvino") is not None:
                output, batch = by_openvino(model, classifier.card.preprocessing)
                ways[f"{name} | OpenVINO"], many[f"{name} | OpenVINO"] = output, batch
        for path in sorted((ROOT / "models").glob(f"*/{CARD_FILE}")):
            shipped = Classifier.load(path.parent)
            title = f"{shipped.card.name} as it ships, {shipped.card.preprocessing.size} px"
            ways[f"{title} | ONNX Runtime"] = by_classifier(shipped)
            if (path.parent / INT8_FILE).is_file():
                ways[f"{title}, 8-bit file | ONNX Runtime"] = by_file(path.parent / INT8_FILE, shipped)
        times = measure(ways, rounds)
        batch_times = measure_batches(many, max(3, rounds // 10))
    print(
        f"Decode to result of one JPEG of 224 px, one thread, {rounds} rounds, in turn; random weights unless it says"
    )
    print(f"otherwise. onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, {platform.machine()},")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.\n")
    print("| network | run by | median ms | 10 % | 90 % | target ms |")
    print("|---|---|---|---|---|---|")
    for name, timings in times.items():
        deciles = statistics.quantiles(timings, n=10)
        target = TARGETS_MS.get(name.split(" | ")[0])
        limit = f"< {target:g}" if target and "ONNX" in name else ""
        print(f"| {name} | {statistics.median(timings):.1f} | {deciles[0]:.1f} | {deciles[-1]:.1f} | {limit} |")
    print(f"\nBatches of {BATCH} prepared images:\n\n| network | run by | median ms |\n|---|---|---|")
    for name, timings in batch_times.items():
        print(f"| {name} | {statistics.median(timings):.0f} |")
    print()
    for name in TARGETS_MS:
        for kind, measured in (("single", times), ("batch", batch_times)):
            ours, theirs = (statistics.median(measured[f"{name} | {by}"]) for by in ("ONNX Runtime", "torch eager"))
            met = "met" if theirs / ours >= TARGET_RATIO else "NOT met"
            print(f"- {name}, {kind}: ONNX Runtime {theirs / ours:.2f} times as fast as torch eager (target 2): {met}")


if __name__ == "__main__":
    main()
