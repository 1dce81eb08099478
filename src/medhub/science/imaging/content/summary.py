# SPDX-License-Identifier: Apache-2.0
"""What a stored object says beside pixels: one answer for every kind, of plain values alone."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread

from medhub.science.imaging.content.attribute_text import all_facts, items, told, words
from medhub.science.imaging.content.pdf_pages import document_in, is_pdf, page_count, page_texts
from medhub.science.imaging.content.radiotherapy import plan_facts, plan_sections
from medhub.science.imaging.content.segment_frames import frame_segments, frame_sources, segment_rows
from medhub.science.imaging.content.structured_report import content_tree
from medhub.science.imaging.content.waveforms import channel_groups
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.object_kinds import kind_of
from medhub.science.imaging.dicom.received_file import quiet

_CLEANED_CONTENT = "113104"
_MOST_SEGMENTS = 2_000
_MOST_TEXT = 200_000
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
    """Read what a page shows of an object beside its picture.

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.

    Returns
    -------
    dict
        ``shown_as``, ``class_name``, ``notes`` (sentences on what is not shown, and why), ``facts`` (name and value),
        ``sections`` (tables), ``tree`` (of a report), ``segments``, ``frame_segments``, ``frame_sources``,
        ``waveforms`` and ``document``; empty where the kind has none of it.

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
            raise Unacceptable("What this object holds cannot be read.", reason="damaged") from error


def _content(dataset: Dataset, dicom: bytes) -> dict[str, Any]:
    kind = kind_of(dataset)
    said: dict[str, Any] = {
        "shown_as": kind.shown_as,
        "class_name": kind.name.removesuffix(" Storage"),
        "notes": [],
        "facts": told(dataset, _COMMON),
        "sections": [],
        "tree": None,
        "segments": [],
        "frame_segments": [],
        "frame_sources": [],
        "waveforms": [],
        "document": None,
    }
    if kind.shown_as == "report":
        _add_report(said, dataset)
    elif kind.shown_as == "segmentation":
        _add_segments(said, dataset)
    elif kind.shown_as == "waveform":
        said["waveforms"] = channel_groups(dataset)
    elif kind.shown_as == "document":
        _add_document(said, dicom)
    elif kind.shown_as == "plan" or "DoseGridScaling" in dataset:
        said["facts"] += plan_facts(dataset)
        said["sections"] = plan_sections(dataset)
    elif kind.shown_as == "presentation":
        _add_presentation(said, dataset)
    if kind.shown_as == "other":
        said["facts"] = all_facts(dataset)
    return said


def _add_report(said: dict[str, Any], dataset: Dataset) -> None:
    codes = {words(one, "CodeValue") for one in items(dataset, "DeidentificationMethodCodeSequence")}
    if _CLEANED_CONTENT not in codes:
        said["notes"].append(
            "What this report says was replaced by blanks when it came in, because the profile of its project does not "
            "keep structured content. A profile with that option keeps it, cleaned."
        )
    said["tree"], whole = content_tree(dataset)
    if not whole:
        said["notes"].append("The report is longer than what is shown here. Download it to read all of it.")


def _add_segments(said: dict[str, Any], dataset: Dataset) -> None:
    said["facts"] += told(dataset, (("Kind", "SegmentationType"), ("Fractions mean", "SegmentationFractionalType")))
    said["facts"].append(["Frames", str(number_of_frames(dataset))])
    said["segments"] = segment_rows(dataset)[:_MOST_SEGMENTS]
    said["frame_segments"] = frame_segments(dataset)
    said["frame_sources"] = frame_sources(dataset)


def _add_document(said: dict[str, Any], dicom: bytes) -> None:
    try:
        data, media_type = document_in(dicom)
    except Unacceptable:
        said["notes"].append("Its document was taken out when it came in, by the profile of its project.")
        return
    pages = 0
    texts: list[str] = []
    if is_pdf(media_type):
        pages, texts = page_count(data), page_texts(data)
    elif media_type == "text/xml":
        try:
            texts = [narrative_of(data)]
            said["notes"].append("A clinical document (CDA) is shown here as its text alone. Download it for its form.")
        except Unacceptable as fault:
            said["notes"].append(fault.message)
    else:
        said["notes"].append("This kind of document cannot be shown here. Download it to open it in its own program.")
    said["document"] = {"media_type": media_type, "size_bytes": len(data), "pages": pages, "texts": texts}


def _add_presentation(said: dict[str, Any], dataset: Dataset) -> None:
    referred = [
        image
        for series in items(dataset, "ReferencedSeriesSequence")
        for image in items(series, "ReferencedImageSequence")
    ]
    said["facts"] += [["Images", str(len(referred))]]
    said["facts"] += told(dataset, (("Shape", "PresentationLUTShape"), ("Made", "PresentationCreationDate")))
    windows = [
        [words(one, "WindowCenter"), words(one, "WindowWidth"), words(one, "WindowCenterWidthExplanation")]
        for one in items(dataset, "SoftcopyVOILUTSequence")
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
            said["sections"].append({"title": title, "heads": heads, "rows": rows})


def narrative_of(xml: bytes) -> str:
    """The text of a clinical document, without its form and without entities of its own.

    Raises
    ------
    Unacceptable
        When it is no XML, or declares entities, which clinical documents have no use for.
    """
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml or b"<\x00!\x00" in xml or b"\x00<\x00!" in xml:
        raise Unacceptable("The document in this file declares what no clinical document does.", reason="damaged")
    try:
        root = ElementTree.fromstring(xml)  # noqa: S314 - in a process apart, and without entities
    except ElementTree.ParseError as error:
        raise Unacceptable("The document in this file is no XML that can be read.", reason="damaged") from error
    pieces = (piece.strip() for piece in root.itertext())
    return "\n".join(piece for piece in pieces if piece)[:_MOST_TEXT]
