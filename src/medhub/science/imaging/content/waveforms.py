# SPDX-License-Identifier: Apache-2.0
"""Waveforms as numbers with units, group by group (PS3.3, C.10.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.waveforms.numpy_handler import multiplex_array

from medhub.science.imaging.content.attribute_text import code, items, words

MOST_VALUES = 240_000
"""Of all channels of an object together; of a longer one the beginning is given."""


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
        them are given), and ``channels`` with ``name``, ``unit`` and ``values`` in that unit. A group that cannot be
        read says why in ``fault`` and has no channels.
    """
    groups = items(dataset, "WaveformSequence", 64)
    budget = MOST_VALUES // max(1, len(groups))
    return [_group(dataset, number, group, budget) for number, group in enumerate(groups)]


def _group(dataset: Dataset, number: int, group: Dataset, budget: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "title": words(group, "MultiplexGroupLabel").capitalize() or f"Group {number + 1}",
        "frequency_hz": 0.0,
        "samples": 0,
        "shown": 0,
        "channels": [],
        "fault": "",
    }
    try:
        said["frequency_hz"] = float(group.SamplingFrequency)
        definitions = items(group, "ChannelDefinitionSequence", 1_000)
        if "WaveformData" not in group:
            return {**said, "fault": "Its samples were taken out when it came in, by the profile of the project."}
        _refuse_companded(group)
        values = multiplex_array(dataset, number, as_raw=False)
        shown = max(1, min(len(values), budget // max(1, len(definitions))))
        padding = group.get("WaveformPaddingValue")
        raw = multiplex_array(dataset, number, as_raw=True)[:shown] if padding is not None else None
        pad = np.frombuffer(padding, raw.dtype)[0] if raw is not None and isinstance(padding, bytes) else None
        said |= {"samples": len(values), "shown": shown}
        for place, channel in enumerate(definitions):
            column = values[:shown, place]
            missing = raw[:, place] == pad if raw is not None and pad is not None else np.zeros(shown, bool)
            told = [None if gone else float(f"{one:.6g}") for one, gone in zip(column, missing, strict=True)]
            said["channels"].append({"name": _name(channel, place), "unit": _unit(channel), "values": told})
    # A group of hostile numbers may make its reader raise anything.
    except Exception as error:
        return {**said, "channels": [], "fault": str(error) if isinstance(error, _Unread) else _DAMAGED}
    return said


_DAMAGED = "Its samples cannot be read: their number or form is not what the object declares."


class _Unread(ValueError):
    pass


def _refuse_companded(group: Dataset) -> None:
    """Samples of telephone audio are no linear numbers, and are not drawn as if they were."""
    if words(group, "WaveformSampleInterpretation") in ("MB", "AB"):
        raise _Unread("Its samples are companded audio (mu-law or A-law), which is not drawn.")


def _name(channel: Dataset, place: int) -> str:
    said = code(channel, "ChannelSourceSequence") or words(channel, "ChannelLabel")
    return said.removeprefix("Lead ").strip() or f"Channel {place + 1}"


def _unit(channel: Dataset) -> str:
    if "ChannelSensitivity" not in channel:
        return ""  # numbers of the converter, without a unit
    for unit in items(channel, "ChannelSensitivityUnitsSequence", 1):
        return words(unit, "CodeValue")
    return ""
