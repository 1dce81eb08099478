# SPDX-License-Identifier: Apache-2.0
"""Data sets of worklist queries and procedure steps (PS3.4, annexes F and K)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import keyword_for_tag
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.query_identifiers import MOST_KEYS, identifier_element, key_text
from medhub.science.imaging.dicom.received_file import quiet

STEP_SEQUENCE = "ScheduledProcedureStepSequence"
_UTF_8 = "ISO_IR 192"
_MOST_REFERENCES = 100
_REFERENCE = ("StudyInstanceUID", "ScheduledProcedureStepID")
_NO_KEYS = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC", "QueryRetrieveLevel"})
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class WorklistQuery:
    """The keys of a worklist query: keyword to value, empty where the attribute is only to be returned.

    Attributes
    ----------
    keys
        Of the data set itself; a sequence is empty.
    step_keys
        Of the item of the Scheduled Procedure Step Sequence; ``None`` where the sequence is not named.
    character_sets
        The character sets of the query.
    """

    keys: dict[str, str]
    step_keys: dict[str, str] | None = None
    character_sets: tuple[str, ...] = ()


@dataclass(frozen=True)
class PerformedStepAttributes:
    """What a modality says of a procedure step that it performs.

    Attributes
    ----------
    status
        IN PROGRESS, COMPLETED or DISCONTINUED; empty where nothing is said.
    scheduled
        Study UID and step id of each scheduled step that it performs; empty where it was not scheduled.
    """

    status: str = ""
    scheduled: tuple[tuple[str, str], ...] = field(default=())


def read_worklist_query(encoded: bytes, *, implicit_vr: bool) -> WorklistQuery:
    """Read the identifier of a worklist query, little endian.

    Raises
    ------
    Unacceptable
        When it cannot be parsed, has too many keys, or more than one item of a scheduled step.
    """
    with quiet():
        try:
            dataset = read_dataset(BytesIO(encoded), implicit_vr, True)
            items = list(dataset.get(STEP_SEQUENCE) or [])
            keys = _keys_of(dataset)
            named = STEP_SEQUENCE in keys
            step_keys = _keys_of(items[0]) if items else {} if named else None
            keys.pop(STEP_SEQUENCE, None)
            sets = dataset.get("SpecificCharacterSet") or []
            names = (sets,) if isinstance(sets, str) else tuple(map(str, sets))
        except Exception as error:  # a parser of hostile bytes may raise anything; all mean the same
            raise Unacceptable("This query cannot be parsed.", reason="damaged") from error
    if len(keys) + len(step_keys or ()) > MOST_KEYS or len(items) > 1:
        raise Unacceptable("This query has too many keys.", reason="unsupported")
    return WorklistQuery(keys, step_keys, names)


def _keys_of(dataset: Dataset) -> dict[str, str]:
    keys = {}
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if keyword and tag.group > 0x0007 and keyword not in _NO_KEYS:
            keys[keyword] = key_text(dataset[tag])
    return keys


def write_worklist_entry(
    attributes: Mapping[str, Sequence[str]],
    step: Mapping[str, Sequence[str]] | None,
    character_sets: Sequence[str],
    *,
    implicit_vr: bool,
) -> bytes:
    """Write an entry of a worklist, little endian.

    Parameters
    ----------
    attributes
        Keyword to values; none where the attribute is empty.
    step
        The same of the only item of the Scheduled Procedure Step Sequence; ``None`` without this sequence.
    character_sets
        Those of the query, which are used if they have all characters; otherwise the entry is in UTF-8.
    implicit_vr
        Whether it is written without value representations.

    Returns
    -------
    bytes
        The data set.
    """
    with quiet():
        dataset = Dataset()
        for keyword, values in attributes.items():
            dataset.add(identifier_element(keyword, values))
        if step is not None:
            item = Dataset()
            for keyword, values in step.items():
                item.add(identifier_element(keyword, values))
            dataset.ScheduledProcedureStepSequence = [item]
        texts = [text for values in (*attributes.values(), *(step or {}).values()) for text in values]
        encodings = _usable_encodings("".join(texts), character_sets)
        if encodings is None:
            dataset.SpecificCharacterSet, encodings = _UTF_8, ["utf8"]
        elif character_sets:
            dataset.SpecificCharacterSet = list(character_sets)
        stream = DicomBytesIO()
        stream.is_implicit_VR, stream.is_little_endian = implicit_vr, True
        write_dataset(stream, dataset, encodings)
        return bytes(stream.getvalue())


def _usable_encodings(text: str, character_sets: Sequence[str]) -> list[str] | None:
    """The encodings of character sets that have every character of a text; ``None`` where they do not."""
    if text.isascii():
        return convert_encodings(list(character_sets) or [""])
    # With code extensions a value can change its set between characters; UTF-8 says the same more simply.
    if len(character_sets) != 1:
        return None
    try:
        encodings = convert_encodings(list(character_sets))
        text.encode(encodings[0])
    except (UnicodeError, LookupError, ValueError):
        return None
    return encodings


def read_performed_step(encoded: bytes, *, implicit_vr: bool) -> PerformedStepAttributes:
    """Read what an N-CREATE or N-SET says of a procedure step; identities in it are not read.

    Raises
    ------
    Unacceptable
        When it cannot be parsed.
    """
    with quiet():
        try:
            dataset = read_dataset(BytesIO(encoded), implicit_vr, True)
            status = str(dataset.get("PerformedProcedureStepStatus", "") or "").strip()
            items = list(dataset.get("ScheduledStepAttributesSequence") or [])[:_MOST_REFERENCES]
            scheduled = tuple(
                tuple(str(item.get(keyword, "") or "").strip() for keyword in _REFERENCE) for item in items
            )
        except Exception as error:  # a parser of hostile bytes may raise anything; all mean the same
            raise Unacceptable("This procedure step cannot be parsed.", reason="damaged") from error
    return PerformedStepAttributes(
        status[:16], tuple((uid, step_id[:16]) for uid, step_id in scheduled if _UID.fullmatch(uid))
    )
