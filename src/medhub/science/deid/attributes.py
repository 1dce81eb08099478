# SPDX-License-Identifier: Apache-2.0
"""Received attributes reduced to those that may stay, at every depth of their sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset, Sequence
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID

from medhub.science.deid.allowlist import AllowList, allow_list

UIDMap = Callable[[str], str]
# Lookup tables have at most 2**16 entries of 16 bits (PS3.3, C.11.1.1); segmented ones are shorter.
_MOST_TABLE_BYTES = 2 * 2**16
_INTEGERS = {"US": (0, 2**16 - 1), "SS": (-(2**15), 2**15 - 1), "UL": (0, 2**32 - 1), "SL": (-(2**31), 2**31 - 1)}
_IS_RANGE = (-(2**31), 2**31 - 1)


class NestedTooDeep(ValueError):
    """Sequences lie within sequences deeper than is followed."""


def keep_allowed(dataset: Dataset, uid_map: UIDMap, *, max_depth: int = 32, little_endian: bool = True) -> Dataset:
    """Make a new dataset of the attributes that may stay; the received one is not changed.

    Values are not copied but read and written anew: a number as a number, a code when it is one of the list, a UID as
    the one that stands for it. What cannot be read so is left out, and so is every private attribute.

    Parameters
    ----------
    dataset
        What was received. Pixel data are not looked at.
    uid_map
        Gives the UID that is written in place of a received one.
    max_depth
        Sequences within sequences that are followed.
    little_endian
        Byte order of the received tables (value representation OW).

    Returns
    -------
    pydicom.Dataset
        Only attributes of the allow-list.

    Raises
    ------
    NestedTooDeep
        When allowed sequences lie deeper than ``max_depth``.
    """
    signed = _signed(dataset)
    return _keep(dataset, allow_list(), uid_map, max_depth, little_endian, signed)


def _signed(dataset: Dataset) -> bool:
    try:
        return int(dataset.get("PixelRepresentation", 0) or 0) == 1
    except (TypeError, ValueError):
        return False


def _keep(
    dataset: Dataset, allowed: AllowList, uid_map: UIDMap, depth: int, little_endian: bool, signed: bool
) -> Dataset:
    kept = Dataset()
    for tag in list(dataset.keys()):
        keyword = allowed.tags.get(int(tag))
        if keyword is None:
            continue
        try:
            element = dataset[tag]
            vr, value = str(element.VR), element.value
        # Whatever a hostile element makes its reader raise means that it has no value that could be kept.
        except Exception:  # noqa: S112
            continue
        if vr == "SQ" or dictionary_VR(tag) == "SQ":
            if depth < 1:
                raise NestedTooDeep("sequences lie too deep within one another")
            items = value if isinstance(value, Sequence) else []
            cleaned = [_keep(item, allowed, uid_map, depth - 1, little_endian, signed) for item in items]
            kept.add(DataElement(tag, "SQ", Sequence(item for item in cleaned if len(item))))
            continue
        fresh = _value(keyword, dictionary_VR(tag), vr, value, allowed, uid_map, little_endian, signed)
        if fresh is not None:
            kept.add(DataElement(tag, fresh[0], fresh[1]))
    return kept


def _value(
    keyword: str,
    standard_vr: str,
    vr: str,
    value: Any,
    allowed: AllowList,
    uid_map: UIDMap,
    little_endian: bool,
    signed: bool,
) -> tuple[str, Any] | None:
    """Write one value anew, as a value representation and a value; ``None`` when it may not stay."""
    if value is None or value == "":
        return None
    if keyword in allowed.vocabulary:
        words = [str(word).strip() for word in _several(value)]
        known = [word for word in words if word in allowed.vocabulary[keyword]]
        return (standard_vr, known if len(known) != 1 else known[0]) if known else None
    if standard_vr == "UI":
        uid = str(value) if isinstance(value, str) else ""
        if keyword == "SOPClassUID":
            return ("UI", uid) if _is_standard_class(uid) else None
        return ("UI", uid_map(uid)) if uid else None
    if standard_vr in ("DS", "IS", "FD", "FL", "US", "SS", "UL", "SL"):
        return _numbers(standard_vr, value)
    if "or" in standard_vr:
        return _table_or_number(standard_vr, vr, value, little_endian, signed)
    if standard_vr == "OW":
        return _table(value, little_endian or vr == "OB")
    return None


def _is_standard_class(uid: str) -> bool:
    entry = UID_dictionary.get(uid)
    return entry is not None and "SOP Class" in entry[1] and UID(uid).is_valid


def _several(value: Any) -> Iterable[Any]:
    return [value] if isinstance(value, str | bytes) or not isinstance(value, Iterable) else list(value)


def _numbers(vr: str, value: Any) -> tuple[str, Any] | None:
    try:
        if vr in ("DS", "FD", "FL"):
            numbers: list[Any] = [float(number) for number in _several(value)]
            if not np.isfinite(numbers).all():
                return None
            if vr == "DS":
                numbers = [_decimal(number) for number in numbers]
        else:
            low, high = _INTEGERS.get(vr, _IS_RANGE)
            numbers = [int(number) for number in _several(value)]
            if any(not low <= number <= high for number in numbers):
                return None
    except (TypeError, ValueError, OverflowError):
        return None
    if not numbers:
        return None
    return vr, numbers if len(numbers) != 1 else numbers[0]


def _decimal(number: float) -> str:
    """Write a number in the 16 characters of a decimal string (PS3.5, 6.2), as exactly as they allow."""
    for digits in range(17, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{number:.0f}"[:16]


def _table_or_number(
    standard_vr: str, vr: str, value: Any, little_endian: bool, signed: bool
) -> tuple[str, Any] | None:
    """Write a value whose representation depends on the file: "US or SS" or "US or OW" (PS3.5, A)."""
    if isinstance(value, bytes):
        return _table(value, little_endian) if "OW" in standard_vr else None
    numbers = _numbers("SS" if vr == "SS" else "US", value)
    if numbers is None and signed:
        numbers = _numbers("SS", value)
    return numbers


def _table(value: Any, little_endian: bool) -> tuple[str, Any] | None:
    if not isinstance(value, bytes) or len(value) > _MOST_TABLE_BYTES:
        return None
    if not little_endian and len(value) % 2 == 0:
        value = np.frombuffer(value, ">u2").astype("<u2").tobytes()
    return "OW", value
