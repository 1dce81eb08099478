# SPDX-License-Identifier: Apache-2.0
"""The classifiers of an installation, loaded once a process."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medhub.foundation.logging import get_logger
from medhub.foundation.settings import Settings
from medhub.science.inference.card import (
    CARD_FILE,
    MODEL_FILE,
    ClassifierBroken,
    ClassifierNotFound,
    ModelCard,
    load_card,
    spell_label,
)
from medhub.science.inference.classifier import Classifier
from medhub.science.inference.classifier import digest as digest_of

log = get_logger()

_guard = threading.Lock()
_loaded: dict[Path, tuple[int, Classifier]] = {}
_seen: dict[Path, tuple[tuple[tuple[int, int], ...], Installed]] = {}


def folder_of(settings: Settings) -> Path:
    """Where the classifiers lie."""
    if settings.classifiers is not None:
        return settings.classifiers
    for parent in Path(__file__).resolve().parents:
        if (parent / "models").is_dir() and (parent / "pyproject.toml").is_file():
            return parent / "models"
    return settings.data / "models"


def trained_folder_of(settings: Settings) -> Path:
    """Where the classifiers lie that were trained here."""
    return settings.data / "classifiers"


def get_classifier(settings: Settings, name: str, digest: str | None = None) -> Classifier:
    """The classifier of a name (or of a folder), loaded when it is first asked for and when its card has changed.

    With a digest it must be that very version, in whichever folder it lies.
    """
    folder = find_installed(settings, digest).folder if digest is not None else find_folder(settings, name)
    changed = (folder / CARD_FILE).stat().st_mtime_ns
    with _guard:
        known = _loaded.get(folder)
        if known is None or known[0] != changed:
            known = (changed, Classifier.load(folder))
            _loaded[folder] = known
        return known[1]


def find_folder(settings: Settings, name: str) -> Path:
    """The folder of the classifier of a name; the name may be a folder itself."""
    for folder in (folder_of(settings) / name, trained_folder_of(settings) / name, Path(name)):
        if (folder / CARD_FILE).is_file():
            return folder.resolve()
    names = [installed.folder.name for installed in all_installed(settings)]
    raise ClassifierNotFound(
        f"There is no classifier “{name}”. There are: {', '.join(names) or 'none'}.", classifier=name
    )


@dataclass(frozen=True)
class Installed:
    """A classifier that lies in one of the folders of the installation."""

    folder: Path
    card: ModelCard
    digest: str


def all_installed(settings: Settings) -> list[Installed]:
    """The installation's classifiers, those that were trained here after the others, each by folder."""
    folders = [folder_of(settings), trained_folder_of(settings)]
    if folders[0].resolve() == folders[1].resolve():
        folders.pop()
    classifiers = []
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/{CARD_FILE}"))):
        try:
            classifiers.append(_installed(path.parent.resolve()))
        except (ClassifierBroken, FileNotFoundError) as error:  # one that is not whole hides no other
            log.warning("classifier.left_out", folder=path.parent.name, error=type(error).__name__)
    return classifiers


def find_installed(settings: Settings, digest: str) -> Installed:
    """The classifier of a digest."""
    for installed in all_installed(settings):
        if installed.digest == digest:
            return installed
    raise ClassifierNotFound(
        f"The classifier with the digest {digest[:8]} is not installed (any more). Restore its folder.",
        classifier=digest,
    )


def _installed(folder: Path) -> Installed:
    """What lies in a folder; its files are read again when they have changed."""
    files = [(folder / name).stat() for name in (CARD_FILE, MODEL_FILE)]
    changed = tuple((file.st_mtime_ns, file.st_size) for file in files)
    with _guard:
        known = _seen.get(folder)
    if known is None or known[0] != changed:
        known = (changed, Installed(folder, load_card(folder), digest_of(folder)))
        with _guard:
            _seen[folder] = known
    return known[1]


def all_cards(settings: Settings) -> list[ModelCard]:
    """The cards of the installation's classifiers, by folder."""
    return [installed.card for installed in all_installed(settings)]


def label_display_names(settings: Settings, classifier: str, labels: Iterable[str] = ()) -> dict[str, str]:
    """Names of labels for people: those on the card of a classifier, else the code with spaces for its hyphens.

    A classifier that is not installed, or cannot be read, gives no names.
    """
    try:
        names = _installed(find_folder(settings, classifier)).card.display_names()
    except (ClassifierNotFound, ClassifierBroken, FileNotFoundError):
        names = {}
    return {label: names.get(label) or spell_label(label) for label in labels} if labels else names
