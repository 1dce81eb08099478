# SPDX-License-Identifier: Apache-2.0
"""The classifiers of an installation, loaded once a process."""

from __future__ import annotations

import threading
from pathlib import Path

from medhub.foundation.settings import Settings
from medhub.science.inference.card import Card, ClassifierNotFound, load_card
from medhub.science.inference.classifier import Classifier

CARD = "card.toml"

_guard = threading.Lock()
_loaded: dict[Path, tuple[int, Classifier]] = {}


def folder_of(settings: Settings) -> Path:
    """Where the classifiers lie."""
    if settings.classifiers is not None:
        return settings.classifiers
    for parent in Path(__file__).resolve().parents:
        if (parent / "models").is_dir() and (parent / "pyproject.toml").is_file():
            return parent / "models"
    return settings.data / "models"


def get_classifier(settings: Settings, name: str) -> Classifier:
    """The classifier of a name (or of a folder), loaded when it is first asked for and when its card has changed."""
    folder = _find(settings, name)
    changed = (folder / CARD).stat().st_mtime_ns
    with _guard:
        known = _loaded.get(folder)
        if known is None or known[0] != changed:
            known = (changed, Classifier.load(folder))
            _loaded[folder] = known
        return known[1]


def _find(settings: Settings, name: str) -> Path:
    for folder in (folder_of(settings) / name, Path(name)):
        if (folder / CARD).is_file():
            return folder.resolve()
    names = [card.name for card in all_cards(settings)]
    raise ClassifierNotFound(
        f"There is no classifier “{name}”. There are: {', '.join(names) or 'none'}.", classifier=name
    )


def all_cards(settings: Settings) -> list[Card]:
    """The cards of the installation's classifiers, by name."""
    return [load_card(path.parent) for path in sorted(folder_of(settings).glob(f"*/{CARD}"))]
