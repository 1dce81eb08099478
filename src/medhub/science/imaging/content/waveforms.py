# SPDX-License-Identifier: Apache-2.0
"""Waveforms as numbers with units, group by group (PS3.3, C.10.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.waveforms.numpy_handler import multiplex_array

from medhub.science.imaging.content.attribute_text import code, items, words

MAX_VALUES = 240_000
"""Values of all channels of an object together; of a longer one the first are returned."""


def channel_groups(dataset: Dataset) -> list[dict[str, Any]]:
    """Read the waveforms of an object.

    Parameters
    ----------
    dataset
        As stored.

    Returns
    -------
    list[dict]
        Of each multiplex group: ``title``, ``frequency_hz``, ``samples`` (of each channel), ``shown`` (how many of
        them are returned), and ``channels`` with ``name``, ``unit`` and ``values`` in that unit. A group that cannot be
        read says why in ``fault`` and has no channels.
    """
    groups = items(dataset, "WaveformSequence", 64)
    budget = MAX_VALUES // max(1, len(groups))
    return [_read_group(dataset, number, group, budget) for number, group in enumerate(groups)]


def _read_group(dataset: Dataset, number: int, group: Dataset, budget: int) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "title": words(group, "MultiplexGroupLabel").capitalize() or f"Group {number + 1}",
        "frequency_hz": 0.0,
        "samples": 0,
        "shown": 0,
        "channels": [],
        "fault": "",
    }
    try:
        summary["frequency_hz"] = float(group.SamplingFrequency)
        definitions = items(group, "ChannelDefinitionSequence", 1_000)
        if "WaveformData" not in group:
            return {**summary, "fault": "Its samples were removed when it was received, by the profile of the project."}
        _refuse_companded(group)
        values = multiplex_array(dataset, number, as_raw=False)
        shown = max(1, min(len(values), budget // max(1, len(definitions))))
        padding = group.get("WaveformPaddingValue")
        raw = multiplex_array(dataset, number, as_raw=True)[:shown] if padding is not None else None
        pad = np.frombuffer(padding, raw.dtype)[0] if raw is not None and isinstance(padding, bytes) else None
        summary |= {"samples": len(values), "shown": shown}
        for position, channel in enumerate(definitions):
            column = values[:shown, position]
            missing = raw[:, position] == pad if raw is not None and pad is not None else np.zeros(shown, bool)
            numbers = [None if gone else float(f"{value:.6g}") for value, gone in zip(column, missing, strict=True)]
            summary["channels"].append(
                {"name": _channel_name(channel, position), "unit": _channel_unit(channel), "values": numbers}
            )
    # The reader may raise anything on hostile values.
    except Exception as error:
        return {**summary, "channels": [], "fault": str(error) if isinstance(error, _CannotBeDrawn) else _DAMAGED_GROUP}
    return summary


_DAMAGED_GROUP = "Its samples cannot be read: their number or form is not what the object declares."


class _CannotBeDrawn(ValueError):
    pass


def _refuse_companded(group: Dataset) -> None:
    """Refuse samples of telephone audio, which are not linear."""
    if words(group, "WaveformSampleInterpretation") in ("MB", "AB"):
        raise _CannotBeDrawn("Its samples are companded audio (mu-law or A-law), which is not drawn.")


def _channel_name(channel: Dataset, position: int) -> str:
    name = code(channel, "ChannelSourceSequence") or words(channel, "ChannelLabel")
    return name.removeprefix("Lead ").strip() or f"Channel {position + 1}"


def _channel_unit(channel: Dataset) -> str:
    if "ChannelSensitivity" not in channel:
        return ""  # values of the converter, without a unit
    for unit in items(channel, "ChannelSensitivityUnitsSequence", 1):
        return words(unit, "CodeValue")
    return ""
