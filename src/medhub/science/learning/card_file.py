# SPDX-License-Identifier: Apache-2.0
"""Writing ``card.toml``."""

from __future__ import annotations

import tomli_w

from medhub.science.inference.card import ModelCard

_HEADER = "# Written by the trainer together with model.onnx; a changed model is refused.\n\n"


def card_text(card: ModelCard) -> str:
    """Write a card as TOML.

    Parameters
    ----------
    card
        The card.

    Returns
    -------
    str
        TOML 1.0 that ``read_card`` reads back as an equal card. Keys have the order of the fields of ``ModelCard``,
        tables come last, and each item of a list has its own line.
    """
    return _HEADER + tomli_w.dumps(card.model_dump(mode="json", exclude_none=True))
