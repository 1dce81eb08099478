# SPDX-License-Identifier: Apache-2.0
"""Documents and voices within DICOM objects: kept only after a person has read them, and without what pages hide."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from pydicom import Dataset
from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject

from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of
from medhub.science.deid.numeric_elements import numbers_contain_text
from medhub.science.deid.profile import Profile
from medhub.science.deid.redaction import redact
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.encapsulated_document import MODEL_TYPES, PDF, media_type_of
from medhub.science.imaging.dicom.object_kinds import kind_of

# Basic Voice Audio, General Audio.
_AUDIO = frozenset(("1.2.840.10008.5.1.4.1.1.9.4.1", "1.2.840.10008.5.1.4.1.1.9.4.2"))
_DOCUMENT = 0x00420011
_MOST_PAGES = 2_000
_MOST_OBJECTS = 200_000
# What a page, or a picture on it, carries beside what it shows.
_HIDDEN_KEYS = (
    *("/Annots", "/Metadata", "/PieceInfo", "/AA", "/LastModified", "/Thumb", "/B", "/StructParents", "/StructParent"),
    *("/OPI", "/Alternates", "/AF", "/ID", "/Name"),
)


class Document(NamedTuple):
    """A document within an object.

    Attributes
    ----------
    data
        Its bytes, without what its pages do not show.
    media_type
        As one of the known kinds; empty for any other.
    """

    data: bytes
    media_type: str


def take_document(received: Dataset, profile: Profile) -> Document | None:
    """Take the document out of an object that a profile does not have emptied.

    Parameters
    ----------
    received
        As received; it is not changed.
    profile
        What is kept: where it says that Encapsulated Document is removed, emptied or replaced, that is done.

    Returns
    -------
    Document or None
        ``None`` where there is none, or where the engine empties it.

    Raises
    ------
    Unacceptable
        When it is damaged or locked, so that nobody could read it.
    """
    if not _retains_document(received, profile):
        return None
    data = received["EncapsulatedDocument"].value
    if not isinstance(data, bytes) or not data:
        raise Unacceptable(
            "This DICOM file says that it holds a document, and holds none. Export it again from its source.",
            reason="damaged",
        )
    length = received.get("EncapsulatedDocumentLength")
    if isinstance(length, int) and 0 < length < len(data):
        data = data[:length]
    media_type = media_type_of(received, data)
    return Document(clean_pdf(data) if media_type == PDF else data, media_type)


def doubt_beside_pixels(received: Dataset, profile: Profile, identity: IdentifyingText | None = None) -> str:
    """Say why a person must look at what an object holds beside pixels; empty where nobody must.

    Parameters
    ----------
    received
        As received.
    profile
        What is kept.
    identity
        Words that say who somebody is; those of the object itself if not given.

    Returns
    -------
    str
        A sentence for the person.
    """
    if _retains_document(received, profile):
        data = received["EncapsulatedDocument"].value
        return _review_reason(media_type_of(received, data if isinstance(data, bytes) else b""))
    if str(received.get("SOPClassUID", "")) in _AUDIO:
        return "A recorded voice can be recognized, and may say a name; a person must decide."
    if numbers_contain_text(received, identity if identity is not None else identifying_text_of(received)):
        return "Between the numbers of this object lies what reads like writing; a person must look."
    return ""


def _retains_document(received: Dataset, profile: Profile) -> bool:
    """Whether an object is a document that stays; one within any other object is emptied by the engine."""
    if "EncapsulatedDocument" not in received or kind_of(received).shown_as != "document":
        return False
    special = profile.special_of(_DOCUMENT)
    return special is None or special.action == "keep"


def _review_reason(media_type: str) -> str:
    if media_type == PDF:
        return "The pages of a document may name somebody, and no program can be sure that they do not; read them."
    if media_type == "text/xml":
        return "A clinical document names people in many places, and no program finds all of them; read it."
    if media_type in MODEL_TYPES:
        return "A model of a body may show a face, and its file may hold writing; a person must look at it."
    return "This object holds a document of a kind that is not known here, and nobody can look through it by program."


def clean_pdf(data: bytes) -> bytes:
    """Write a PDF anew, with its pages and nothing that they do not show.

    What the document says of itself, notes, forms, bookmarks, attached files, scripts and earlier versions stay out, so
    that who reads its pages has read all of it but writing that is hidden within them.

    Parameters
    ----------
    data
        The received document.

    Returns
    -------
    bytes
        The new document.

    Raises
    ------
    Unacceptable
        When it is damaged, locked, or has more pages than are taken.
    """
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unacceptable(
                "The document in this file is locked by a password, and cannot be read here. Export it unlocked.",
                reason="unsupported",
            )
        pages = len(reader.pages)
        if not 1 <= pages <= _MOST_PAGES:
            raise Unacceptable(
                f"The document in this file has {pages:,} pages; 1 to {_MOST_PAGES:,} are taken.", reason="unsupported"
            )
        writer = PdfWriter()
        seen: set[int] = set()
        for page in reader.pages:
            _remove_hidden_keys(page, seen)
            writer.add_page(page)
        writer.metadata = None
        out = BytesIO()
        writer.write(out)
    except Unacceptable:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise Unacceptable(
            "The document in this file is damaged and cannot be read. Export it again from its source.",
            reason="damaged",
        ) from error
    return out.getvalue()


def _remove_hidden_keys(page: DictionaryObject, seen: set[int]) -> None:
    """Take out of a page, and of all that it draws, what is not drawn."""
    stack: list[Any] = [page]
    while stack:
        node = stack.pop()
        node = node.get_object() if isinstance(node, IndirectObject) else node
        if id(node) in seen or node is None:
            continue
        seen.add(id(node))
        if len(seen) > _MOST_OBJECTS:
            raise ValueError("it has too many objects")
        if isinstance(node, DictionaryObject):
            for key in _HIDDEN_KEYS:
                if key in node:
                    del node[key]
            stack += [node.raw_get(key) for key in list(node) if key != "/Parent"]
        elif isinstance(node, ArrayObject):
            stack += list(node)


def mark_read(dicom: bytes) -> bytes:
    """Say in an object with a document that a person has read it and found nobody named (PS3.3, C.24.2)."""

    def mark(dataset: Dataset) -> None:
        if "EncapsulatedDocument" in dataset:
            dataset.BurnedInAnnotation = "NO"

    return redact(dicom, {}, mark)
