# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from medhub.classification import registry
from medhub.classification.registry import all_cards, folder_of, get_classifier, label_display_names
from medhub.foundation.settings import Settings
from medhub.science.inference.card import ClassifierNotFound
from medhub.science.inference.classifier import Classifier
from tests.conftest import ROOT
from tests.factories.threads import together

SHIPPED = ROOT / "models" / "blood-cells"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with one classifier of its own."""
    folder = tmp_path / "classifiers"
    shutil.copytree(SHIPPED, folder / "blood-cells")
    return Settings(data=tmp_path / "data", classifiers=folder)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are loaded from now on."""
    monkeypatch.setattr(registry, "_loaded", {})
    load, seen = Classifier.load, []

    def noted(folder: Path) -> Classifier:
        seen.append(folder)
        return load(folder)

    monkeypatch.setattr(Classifier, "load", noted)
    return seen


def test_the_classifiers_that_ship_are_found_without_a_setting() -> None:
    assert folder_of(Settings()) == ROOT / "models"
    assert "blood-cells" in [card.name for card in all_cards(Settings())]


def test_a_classifier_is_loaded_once_whoever_asks(settings: Settings, loads: list[Path]) -> None:
    classifiers = together(*[lambda: get_classifier(settings, "blood-cells")] * 4)
    assert len({id(classifier) for classifier in classifiers}) == len(loads) == 1


def test_a_classifier_whose_card_changed_is_loaded_anew(settings: Settings, loads: list[Path]) -> None:
    first = get_classifier(settings, "blood-cells")
    assert settings.classifiers is not None
    os.utime(settings.classifiers / "blood-cells" / "card.toml", ns=(1, 1))
    assert get_classifier(settings, "blood-cells") is not first
    assert len(loads) == 2


def test_a_folder_may_be_named_instead(settings: Settings, loads: list[Path]) -> None:
    by_name = get_classifier(settings, "blood-cells")
    assert get_classifier(Settings(data=settings.data), str(loads[0])) is by_name


def test_a_name_that_there_is_not_is_told_with_those_there_are(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ClassifierNotFound, match="There are: blood-cells"):
        get_classifier(settings, "x-ray")
    with pytest.raises(ClassifierNotFound, match="There are: none"):
        get_classifier(Settings(classifiers=tmp_path / "empty"), "x-ray")


def test_labels_have_the_names_of_the_card(settings: Settings) -> None:
    names = label_display_names(settings, "blood-cells", ("ig", "neutrophil", "not-classed"))
    assert names == {"ig": "Immature granulocyte", "neutrophil": "Neutrophil", "not-classed": "not classed"}
    assert list(label_display_names(settings, "blood-cells")) == list(all_cards(settings)[0].labels)


def test_labels_of_a_classifier_that_is_not_installed_are_spelled_out(settings: Settings) -> None:
    assert label_display_names(settings, "x-ray", ("lung-opacity",)) == {"lung-opacity": "lung opacity"}
