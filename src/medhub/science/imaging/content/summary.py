# SPDX-License-Identifier: Apache-2.0
"""The content of a stored object beside its pixels, in one form for every kind of object."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread

from medhub.science.imaging.content.attribute_text import facts_of, items, list_all_facts, words
from medhub.science.imaging.content.pdf_pages import document_in, is_pdf, page_count, page_texts
from medhub.science.imaging.content.radiotherapy import plan_facts, plan_sections
from medhub.science.imaging.content.segment_frames import frame_segments, frame_sources, segment_rows
from medhub.science.imaging.content.structured_report import content_tree
from medhub.science.imaging.content.waveforms import channel_groups
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.object_kinds import kind_of
from medhub.science.imaging.dicom.received_file import quiet

_CLEAN_STRUCTURED_CONTENT = "113104"
_MAX_SEGMENTS = 2_000
_MAX_CHARACTERS = 200_000
_COMMON = (
    ("Title", "DocumentTitle"),
    ("Label", "ContentLabel"),
    ("Description", "ContentDescription"),
    ("Series", "SeriesDescription"),
    ("Device", "ManufacturerModelName"),
    ("Completion", "CompletionFlag"),
    ("Verified", "VerificationFlag"),
    ("Date", "ContentDate"),
)


def content_of(dicom: bytes) -> dict[str, Any]:
    """Read the content of an object beside its pixels.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` has written.

    Returns
    -------
    dict
        ``shown_as``, ``class_name``, ``notes`` (sentences on what is not shown, and why), ``facts`` (name and value),
        ``sections`` (tables), ``tree`` (of a report), ``segments``, ``frame_segments``, ``frame_sources``,
        ``waveforms`` and ``document``; empty where the kind of object has none.

    Raises
    ------
    Unacceptable
        When the object cannot be read.
    """
    with quiet():
        try:
            return _content(dcmread(BytesIO(dicom)), dicom)
        except Unacceptable:
            raise
        # A parser of hostile bytes may raise anything; all mean the same.
        except Exception as error:
            raise Unacceptable("The content of this object cannot be read.", reason="damaged") from error


def _content(dataset: Dataset, dicom: bytes) -> dict[str, Any]:
    kind = kind_of(dataset)
    content: dict[str, Any] = {
        "shown_as": kind.shown_as,
        "class_name": kind.name.removesuffix(" Storage"),
        "notes": [],
        "facts": facts_of(dataset, _COMMON),
        "sections": [],
        "tree": None,
        "segments": [],
        "frame_segments": [],
        "frame_sources": [],
        "waveforms": [],
        "document": None,
    }
    if kind.shown_as == "report":
        _add_report(content, dataset)
    elif kind.shown_as == "segmentation":
        _add_segments(content, dataset)
    elif kind.shown_as == "waveform":
        content["waveforms"] = channel_groups(dataset)
    elif kind.shown_as == "document":
        _add_document(content, dicom)
    elif kind.shown_as == "plan" or "DoseGridScaling" in dataset:
        content["facts"] += plan_facts(dataset)
        content["sections"] = plan_sections(dataset)
    elif kind.shown_as == "presentation":
        _add_presentation(content, dataset)
    if kind.shown_as == "other":
        content["facts"] = list_all_facts(dataset)
    return content


def _add_report(content: dict[str, Any], dataset: Dataset) -> None:
    codes = {words(code, "CodeValue") for code in items(dataset, "DeidentificationMethodCodeSequence")}
    if _CLEAN_STRUCTURED_CONTENT not in codes:
        content["notes"].append(
            "The texts of this report were replaced by blanks when it was received, because the profile of its project "
            "does not keep structured content. A profile with that option keeps them, cleaned."
        )
    content["tree"], is_complete = content_tree(dataset)
    if not is_complete:
        content["notes"].append("The report is longer than what is shown here. Download it to read the rest.")


def _add_segments(content: dict[str, Any], dataset: Dataset) -> None:
    content["facts"] += facts_of(
        dataset, (("Kind", "SegmentationType"), ("Fractions mean", "SegmentationFractionalType"))
    )
    content["facts"].append(["Frames", str(number_of_frames(dataset))])
    content["segments"] = segment_rows(dataset)[:_MAX_SEGMENTS]
    content["frame_segments"] = frame_segments(dataset)
    content["frame_sources"] = frame_sources(dataset)


def _add_document(content: dict[str, Any], dicom: bytes) -> None:
    try:
        data, media_type = document_in(dicom)
    except Unacceptable:
        content["notes"].append("Its document was removed when it was received, by the profile of its project.")
        return
    pages = 0
    texts: list[str] = []
    if is_pdf(media_type):
        pages, texts = page_count(data), page_texts(data)
    elif media_type == "text/xml":
        try:
            texts = [narrative_of(data)]
            content["notes"].append(
                "Of a clinical document (CDA) only the text is shown here. Download it to see its layout."
            )
        except Unacceptable as fault:
            content["notes"].append(fault.message)
    else:
        content["notes"].append(
            "This kind of document cannot be shown here. Download it to open it in another program."
        )
    content["document"] = {"media_type": media_type, "size_bytes": len(data), "pages": pages, "texts": texts}


def _add_presentation(content: dict[str, Any], dataset: Dataset) -> None:
    referred = [
        image
        for series in items(dataset, "ReferencedSeriesSequence")
        for image in items(series, "ReferencedImageSequence")
    ]
    content["facts"] += [["Images", str(len(referred))]]
    content["facts"] += facts_of(dataset, (("Shape", "PresentationLUTShape"), ("Made", "PresentationCreationDate")))
    windows = [
        [words(window, "WindowCenter"), words(window, "WindowWidth"), words(window, "WindowCenterWidthExplanation")]
        for window in items(dataset, "SoftcopyVOILUTSequence")
    ]
    texts = [
        [words(layer, "GraphicLayer"), words(text, "UnformattedTextValue")]
        for layer in items(dataset, "GraphicAnnotationSequence")
        for text in items(layer, "TextObjectSequence")
    ]
    for title, heads, rows in (
        ("Windows", ["Center", "Width", "Name"], windows),
        ("Writing", ["Layer", "Text"], texts),
    ):
        if rows:
            content["sections"].append({"title": title, "heads": heads, "rows": rows})


def narrative_of(xml: bytes) -> str:
    """The text of a clinical document, without its layout.

    Raises
    ------
    Unacceptable
        When it is not XML, or declares entities, which clinical documents do not use.
    """
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"<\x00!\x00" in xml or b"\x00<\x00!" in xml:
        raise Unacceptable(
            "The document in this file declares XML entities, which clinical documents do not use.", reason="damaged"
        )
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - in an isolated process, and without entities
    except ElementTree.ParseError as error:
        raise Unacceptable("The document in this file is not valid XML.", reason="damaged") from error
    texts = (text.strip() for text in root.itertext())
    return "\n".join(text for text in texts if text)[:_MAX_CHARACTERS]
