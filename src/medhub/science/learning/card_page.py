# SPDX-License-Identifier: Apache-2.0
"""A model card as a page to read: ``python -m medhub.science.learning.card_page FOLDER PAGE`` writes it anew.

The order follows Mitchell et al., "Model cards for model reporting" (FAT* 2019).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from medhub.science.inference.card import Card, load_card

MADE_BY = "python -m medhub.science.learning.card_page"


def page(card: Card) -> str:
    """Render a card as Markdown.

    Parameters
    ----------
    card
        The card.

    Returns
    -------
    str
        The page, with an end of line at its end.
    """
    parts = [
        f"<!-- Written by `{MADE_BY}` from card.toml; do not change it here. -->",
        f"# {card.name} {card.version}: {card.title}",
        _facts(card),
        "## What it is for",
        card.intended_use,
        "## What it must not be used for",
        _list(card.not_for),
        "## What limits it",
        _list(card.limitations),
        "## When it abstains",
        "It says **Uncertain** where the likeliest label stays below the threshold of the pathway, and where the "
        f"image is unlike the training data: novelty above {card.novelty.limit:g}.",
        f"- Novelty: {card.novelty.method}.\n- Limit: {card.novelty.basis}",
        "## What it reached",
        "Measured on the files that ship, through the code that serves. The command that prints every figure again:",
        "\n".join(f"    {command}" for command in _commands(card)),
        _table(
            ("figure", "value", "95 % interval", "images", "interval"),
            (
                (f.name, _percent(f.value), f"{_percent(f.low)} to {_percent(f.high)}", f.n, f.interval)
                for f in card.figures
            ),
        ),
        _table(("measure", "value", "images"), ((m.name, f"{m.value:.4f}", m.n) for m in card.measures)),
        _table(
            ("label", "means", "test images", "recall", "precision"),
            (
                (p.label, card.label_names.get(p.label, p.label), p.n, _percent(p.recall), _percent(p.precision))
                for p in card.per_label
            ),
        ),
        "## What becomes of images that it was not made for",
        "At a threshold of 0.75. None of these images had a part in training, calibration or the choice of the limit.",
        _table(
            ("kind", "images", "Uncertain", "unlike the training data"),
            ((s.name, s.n, _percent(s.uncertain), _percent(s.novel)) for s in card.strangers),
        ),
        "## Images",
        "\n\n".join(
            f"**{d.name}.** {d.images} images; {d.use}. Licence: {d.licence}. Attribution: {d.attribution}. "
            f"Source: {d.source}. Split: {d.split}."
            for d in card.data
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(card: Card) -> str:
    preprocessing = card.preprocessing
    rows = [
        ("architecture", card.architecture),
        ("labels", ", ".join(card.labels)),
        (
            "input",
            f"{preprocessing.channels}, the whole image brought to {preprocessing.size} x {preprocessing.size} pixels "
            f"({preprocessing.resize}, {preprocessing.interpolation})",
        ),
        ("temperature", f"{card.temperature:g}"),
        ("licence of the weights", card.licence),
        ("made by", f"`{card.trained_with}`"),
        ("SHA-256 of model.onnx", f"`{card.model_sha256}`"),
    ]
    if card.start is not None:
        rows.insert(1, ("started from", f"{card.start.name}; {card.start.source}; licence {card.start.licence}"))
    return _table(("", ""), rows)


def _commands(card: Card) -> list[str]:
    return list(dict.fromkeys([figure.command for figure in card.figures]))


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body])


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def main(arguments: list[str] | None = None) -> int:
    """Write the page of a classifier."""
    parser = argparse.ArgumentParser(prog="medhub.science.learning.card_page", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args(arguments)
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page(load_card(options.folder)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
