# SPDX-License-Identifier: Apache-2.0
"""From a recipe to a folder that serves, on discs of three colors."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.science.optional_packages import need

need("torch", "onnx", "safetensors", "matplotlib")

import torch  # noqa: E402

from medhub.errors import Invalid, Unavailable  # noqa: E402
from medhub.science.inference.card import load_card  # noqa: E402
from medhub.science.inference.classifier import Classifier  # noqa: E402
from medhub.science.inference.preprocessing import Preprocessing  # noqa: E402
from medhub.science.learning import (  # noqa: E402
    card_figures,
    checkpoint,
    evaluation,
    initialization,
    measurement,
    robustness,
    safetensors_file,
    training_inputs,
    training_job,
    training_loop,
    training_progress,
)
from medhub.science.learning.architectures import ARCHITECTURES, build_network  # noqa: E402
from medhub.science.learning.dataset import load_images, part_of, read_listing  # noqa: E402
from medhub.science.learning.novelty import Novelty, fit_gaussians  # noqa: E402
from medhub.science.learning.onnx_export import ExportDiffers, Graph, compare, export, round_weights  # noqa: E402
from medhub.science.learning.recipe import find_recipe, load_recipe, named_recipes, read_recipe  # noqa: E402
from medhub.science.learning.teacher import Teacher  # noqa: E402
from tests.science.learning.discs import RECIPE, TINY, Tiny, draw_discs  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _a_small_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, TINY.name, TINY)
        patch.setattr(robustness, "GENERATED_OF_EACH_KIND", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_discs(tmp_path_factory.mktemp("data"))


def _job(data: Path, out: Path, *changes: tuple[str, str]) -> training_job.TrainingJob:
    text = RECIPE
    for change in changes:
        assert change[0] in text
        text = text.replace(*change)
    return training_job.TrainingJob(
        recipe=read_recipe(text), rows=read_listing(data / "split.csv"), folder=data, out=out, data=data
    )


class _Watch(training_job.SilentJobObserver):
    def __init__(self, stop_after: int | None = None) -> None:
        self.stages: list[str] = []
        self.steps = 0
        self.epochs: list[training_progress.Epoch] = []
        self._stop_after = stop_after

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def step(self, step: int, of: int, loss: float) -> None:
        self.steps += 1

    def epoch(self, epoch: training_progress.Epoch) -> None:
        self.epochs.append(epoch)

    def stop(self) -> bool:
        return self._stop_after is not None and self.steps >= self._stop_after


@pytest.fixture(scope="module")
def discs_folder(data: Path) -> Path:
    out = data / "made" / "discs"
    watch = _Watch()
    trained = training_job.run_training(_job(data, out), observer=watch)
    assert trained is not None
    assert tuple(watch.stages) == training_job.STAGES
    assert [item.number for item in watch.epochs] == list(range(1, 11))
    return out


def test_what_is_written_serves_and_knows_its_colors(discs_folder: Path) -> None:
    classifier = Classifier.load(discs_folder)
    card = classifier.card
    assert card.labels == ("blue", "green", "red")
    accuracy = card.figures[0]
    assert (accuracy.name, accuracy.n) == ("accuracy on the test images", 18)
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert accuracy.value > 0.8
    stripes = next(item for item in card.out_of_distribution if item.name == "stripes")
    assert (stripes.n, stripes.novel) == (3, 1.0)
    assert card.run is not None
    assert card.run.images == (36, 18, 18)
    assert card.calibration is not None
    assert np.array(card.confusion).sum() == 18
    assert {path.name for path in (discs_folder / "report").iterdir()} == {
        "curves.png",
        "confusion.png",
        "reliability.png",
        "abstention.png",
        "worst.png",
    }
    assert not (discs_folder / training_job.CHECKPOINT_FOLDER).exists()


def test_the_evidence_is_what_grad_cam_says_and_depends_on_what_was_learned(discs_folder: Path) -> None:
    explained = load_card(discs_folder).explained
    assert explained is not None
    assert explained.grad_cam > 0.999
    assert explained.random_weights < 0.9
    assert explained.insertion > explained.insertion_by_chance


def test_eighteen_images_promise_nothing_and_the_card_says_so(discs_folder: Path) -> None:
    card = load_card(discs_folder)
    assert card.abstention is None
    assert any("150 validation images" in line for line in card.limitations)


def test_the_card_is_what_is_measured_again(data: Path, discs_folder: Path) -> None:
    classifier = Classifier.load(discs_folder)
    rows = part_of(read_listing(data / "split.csv"), "test")
    trained = measurement.measure(classifier, rows)
    command = card_figures.COMMAND.format(name="discs")
    parts = card_figures.card_parts(trained, evaluation.compute_results(trained), command)
    parts["figures"] = (*parts["figures"], *robustness.measure_perturbed(classifier, rows, None, command))
    kinds = read_recipe(RECIPE).out_of_distribution
    parts["out_of_distribution"] = robustness.measure_out_of_distribution(classifier, kinds, data, trained.predictions)
    assert card_figures.list_differences(classifier.card, parts) == []
    changed = classifier.card.model_copy(update={"out_of_distribution": ()})
    assert card_figures.list_differences(changed, parts) == ["The card's strangers differ from what was measured."]


def test_the_same_recipe_makes_the_same_files(data: Path, discs_folder: Path, tmp_path: Path) -> None:
    training_job.run_training(_job(data, tmp_path / "again"))
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (discs_folder / "model.onnx").read_bytes()
    assert (tmp_path / "again" / "card.toml").read_bytes() == (discs_folder / "card.toml").read_bytes()


def test_a_training_that_was_stopped_goes_on_to_the_same_files(data: Path, discs_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(training_progress.Stopped):
        training_job.run_training(_job(data, out), observer=_Watch(stop_after=6 * 4 + 2))
    assert (out / training_job.CHECKPOINT_FOLDER / checkpoint.STATE_FILE).is_file()
    assert not (out / "card.toml").exists()
    with pytest.raises(training_job.Unfinished, match="--resume"):
        training_job.run_training(_job(data, out))
    watch = _Watch()
    training_job.run_training(_job(data, out), resume=True, observer=watch)
    assert [item.number for item in watch.epochs] == [5, 6, 7, 8, 9, 10]
    assert (out / "model.onnx").read_bytes() == (discs_folder / "model.onnx").read_bytes()


def test_a_folder_with_a_classifier_is_not_written_over(data: Path, discs_folder: Path) -> None:
    with pytest.raises(training_job.Unfinished, match="already"):
        training_job.run_training(_job(data, discs_folder), resume=True)


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "empty"])
def test_a_damaged_checkpoint_is_refused_in_words(data: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(training_progress.Stopped):
        training_job.run_training(_job(data, out), observer=_Watch(stop_after=8))
    path = out / training_job.CHECKPOINT_FOLDER / checkpoint.STATE_FILE
    complete = path.read_bytes()
    path.write_bytes(
        {"cut": complete[: len(complete) // 2], "zeros": bytes(len(complete)), "text": b"{}" * 40, "empty": b""}[damage]
    )
    with pytest.raises(Invalid, match="damaged"):
        training_job.run_training(_job(data, out), resume=True)


def test_a_checkpoint_of_another_recipe_is_refused(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(training_progress.Stopped):
        training_job.run_training(_job(data, out), observer=_Watch(stop_after=8))
    with pytest.raises(Invalid, match="another training"):
        training_job.run_training(_job(data, out, ("learning_rate = 1e-2", "learning_rate = 2e-2")), resume=True)


def test_a_full_disk_leaves_the_checkpoint_before_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    written = os.fsync
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        written(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        training_job.run_training(_job(data, out))
    monkeypatch.undo()
    assert [path.name for path in (out / training_job.CHECKPOINT_FOLDER).iterdir()] == [checkpoint.STATE_FILE]
    watch = _Watch()
    training_job.run_training(_job(data, out), resume=True, observer=watch)
    assert watch.epochs[0].number == 3


def test_a_loss_that_is_no_number_is_said_with_what_to_change(data: Path, tmp_path: Path) -> None:
    with pytest.raises(training_progress.Diverged, match="learning_rate"):
        training_job.run_training(
            _job(
                data,
                tmp_path / "out",
                ("learning_rate = 1e-2", 'learning_rate = 1e30\noptimizer = "sgd"\ngradient_clip = 1e30'),
            )
        )


def test_too_little_memory_is_said_with_what_to_change(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(training_loop._NetworkTraining, "_step", greedy)
    with pytest.raises(training_progress.OutOfMemory, match="batch_size"):
        training_job.run_training(_job(data, tmp_path / "out"))


def test_near_duplicates_in_two_parts_stop_the_training_unless_a_reason_is_given(data: Path, tmp_path: Path) -> None:
    rows = read_listing(data / "split.csv")
    copied = tmp_path / "copy.png"
    learned = next(row for row in rows if row.split == "train")
    shutil.copy(learned.path, copied)
    leaky = (*rows, replace(learned, path=copied, name="copy.png", group="copy", split="test"))
    job = replace(_job(data, tmp_path / "out"), rows=leaky)
    with pytest.raises(training_inputs.DataLeakage, match=r"copy\.png"):
        training_job.run_training(job)
    training_job.run_training(replace(job, overrule="a test of this very rule"))
    run = load_card(tmp_path / "out").run
    assert run is not None
    assert run.overruled.startswith("a test of this very rule (1 pairs")


def test_a_frozen_base_learns_its_head_alone(data: Path, discs_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Tiny(3)
    safetensors_file.write_safetensors(tmp_path / "start.safetensors", network.state_dict())
    job = _job(
        data,
        tmp_path / "out",
        ("epochs = 10", "frozen_epochs = 30\nepochs = 0"),
        ("strangers =", f'start_from = "{tmp_path / "start.safetensors"}"\nstrangers ='),
    )
    watch = _Watch()
    trained = training_job.run_training(job, observer=watch)
    assert trained is not None
    assert {item.stage for item in watch.epochs} == {"head"}
    assert trained.results.accuracy.value > 0.4
    assert "SHA-256" in (trained.classifier.card.start.source if trained.classifier.card.start else "")
    with pytest.raises(Invalid, match="start_from"):
        training_job.run_training(_job(data, tmp_path / "none", ("epochs = 10", "frozen_epochs = 3\nepochs = 0")))


@pytest.mark.parametrize(
    "change",
    [
        ("epochs = 10", 'epochs = 10\nschedule = "cosine"\nema = 0.9\nkeep = "best"\npatience = 3'),
        ("epochs = 10", 'epochs = 10\noptimizer = "sgd"\nschedule = "step"\nclass_balance = "sampler"\nworkers = 2'),
        ("epochs = 10", 'epochs = 10\nclass_balance = "weights"\nlabel_smoothing = 0.1\nschedule = "constant"'),
        ("[augmentation]", "[augmentation]\nmixup = 0.2\nerasing_share = 0.5\nstain = 0.05\nblur_share = 0.5"),
    ],
)
def test_other_ways_learn_the_colors_too(data: Path, tmp_path: Path, change: tuple[str, str]) -> None:
    trained = training_job.run_training(replace(_job(data, tmp_path / "out", change), data=None))
    assert trained is not None
    assert trained.results.accuracy.value > 0.6


def test_a_network_learns_from_a_classifier(data: Path, discs_folder: Path, tmp_path: Path) -> None:
    change = ("strangers =", f'distillation = {{ teacher = "{discs_folder}", weight = 1.0 }}\nstrangers =')
    trained = training_job.run_training(_job(data, tmp_path / "out", change))
    assert trained is not None
    assert trained.results.accuracy.value > 0.6
    run = trained.classifier.card.run
    assert run is not None
    assert Classifier.load(discs_folder).digest in run.teacher
    with pytest.raises(Invalid, match="teacher"):
        training_job.run_training(
            _job(data, tmp_path / "none", (change[0], change[1].replace(str(discs_folder), "nowhere")))
        )


def test_the_features_of_a_teacher_are_learned_too(data: Path, discs_folder: Path, tmp_path: Path) -> None:
    apart = {}
    for weight in (0.0, 20.0):
        change = ("strangers =", f'distillation = {{ teacher = "{discs_folder}", features = {weight} }}\nstrangers =')
        job = _job(data, tmp_path / str(weight), change)
        assert training_job.run_training(job) is not None
        shown = load_images(part_of(job.rows, "val"), ("blue", "green", "red"), job.recipe.preprocessing).images
        images = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255
        own, aim = (Teacher(folder, ("blue", "green", "red"))(images).features for folder in (job.out, discs_folder))
        apart[weight] = float((own - aim).square().sum() / aim.square().sum())
    assert apart[20.0] < 0.5 * apart[0.0]


def test_a_teacher_with_more_features_than_the_network_is_refused(
    data: Path, discs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ("strangers =", f'distillation = {{ teacher = "{discs_folder}", features = 1.0 }}\nstrangers =')
    monkeypatch.setattr(Tiny, "body_channels", 4)
    with pytest.raises(Invalid, match="features"):
        training_job.run_training(_job(data, tmp_path / "out", change))


def test_weights_of_16_bits_and_an_int8_model_serve_too(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    trained = training_job.run_training(
        _job(data, out, ("[novelty]", "[export]\nhalf = true\nint8 = true\nint8_drop = 0.9\n[novelty]"))
    )
    assert trained is not None
    quantized = trained.classifier.card.quantized
    assert quantized is not None
    assert quantized.shipped
    assert (out / "model-int8.onnx").is_file()


def test_another_training_starts_from_the_weights_of_one(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "first"
    assert training_job.run_training(_job(data, out, ("[novelty]", "[export]\nweights = true\n[novelty]"))) is not None
    network = build_network("tiny", 5)
    initialization.initialize_weights(network, "tiny", "weights.safetensors", out)
    stored = safetensors_file.read_safetensors(out / "weights.safetensors")
    assert torch.equal(network.state_dict()["deep.weight"], stored["deep.weight"])
    assert network.classifier.out_features == 5
    change = ("strangers =", f'start_from = "{out / "weights.safetensors"}"\nstrangers =')
    trained = training_job.run_training(_job(data, tmp_path / "second", change))
    assert trained is not None
    assert trained.training.curves[0].validation_accuracy > 0.6


def test_rounded_weights_are_stored_in_half_the_space() -> None:
    graph, preprocessing, images = _parts("mobilenetv2-folded")
    round_weights(graph.network)
    complete, half = (
        export(graph.network, graph.novelty, ("a", "b"), preprocessing, images, half=half) for half in (False, True)
    )
    assert len(half.model) < 0.6 * len(complete.model)
    assert half.difference < 1e-4


def _parts(name: str) -> tuple[Graph, Preprocessing, np.ndarray]:
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    network = build_network(name, 2).eval()
    with torch.inference_mode():
        widths = [item.shape[1] for item in network.maps(torch.zeros(1, 3, 32, 32))]
    targets = np.arange(40) % 2
    distance = Novelty(
        [fit_gaussians(chance.normal(size=(40, width)), targets, 3) for width in widths], [1.0] * len(widths)
    )
    images = chance.integers(0, 256, (3, 32, 32, 3), np.uint8)
    return Graph(network, distance), Preprocessing(size=32, mean=(127.5,) * 3, std=(127.5,) * 3), images


@pytest.mark.parametrize("name", ["mobilenetv2-folded", "hrnet-w18-small"])
def test_the_exported_graph_computes_what_the_network_does(name: str) -> None:
    graph, preprocessing, images = _parts(name)
    exported = export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)
    assert 0 < exported.difference < 1e-4


def test_a_graph_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, preprocessing, images = _parts("tiny")
    exported = export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)
    with torch.no_grad():
        graph.network.classifier.bias.add_(0.01)
    batch = torch.from_numpy(np.zeros((1, 3, 32, 32), np.float32))
    assert compare(graph.eval(), exported.model, batch) > 1e-3
    monkeypatch.setattr("medhub.science.learning.onnx_export.compare", lambda *_: 0.5)
    with pytest.raises(ExportDiffers):
        export(graph.network, graph.novelty, ("a", "b"), preprocessing, images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 10", "epochs = -1"), "epochs"),
        (("epochs = 10", "epochs = 10\nmagic = 1"), "magic"),
        (("[about]", "[about"), "TOML"),
    ],
)
def test_a_recipe_that_cannot_be_used_says_where(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(Invalid, match=message):
        load_recipe(path)
    with pytest.raises(Invalid, match="no recipe"):
        load_recipe(tmp_path / "none.toml")


def test_the_recipes_that_ship_can_be_read() -> None:
    assert {"blood-cells", "leukemia-smear", "chest-xray", "hemaclassify", "csss", "quick"} <= set(named_recipes())
    for name in named_recipes():
        assert load_recipe(find_recipe(name)).network.architecture in ARCHITECTURES


def test_the_curves_of_a_run_are_kept(discs_folder: Path) -> None:
    record = json.loads((discs_folder / "run.json").read_text())
    assert len(record["curves"]) == 10
    assert record["images_per_s"] > 0
