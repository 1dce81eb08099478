# SPDX-License-Identifier: Apache-2.0
"""Writing ``card.toml``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from medhub.science.inference.card import ModelCard

_HEADER = "# Written by the trainer together with model.onnx; a changed model is refused.\n"


def card_text(card: ModelCard) -> str:
    """Write a card as TOML.

    Parameters
    ----------
    card
        The card.

    Returns
    -------
    str
        TOML 1.0 that ``read_card`` reads back as an equal card.
    """
    values = card.model_dump(mode="json", exclude_none=True)
    lines = [_HEADER]
    lines += _pairs({name: value for name, value in values.items() if not _is_table(value)})
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += ["", f"[{name}]", *_pairs(value)]
        elif _is_table(value) and not isinstance(value, Mapping):
            for entry in value:
                lines += ["", f"[[{name}]]", *_pairs(entry)]
    return "\n".join(lines) + "\n"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in values.items()]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        flat = ", ".join(_value(item) for item in value)
        if len(flat) < 100:
            return f"[{flat}]"
        return "[\n" + "".join(f"    {_value(item)},\n" for item in value) + "]"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, save that JSON leaves DEL as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
