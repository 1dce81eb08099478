# SPDX-License-Identifier: Apache-2.0
"""Documents and audio within DICOM objects: a person must review them, and PDF files lose their hidden content."""

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
# Keys of a page, or of an image on it, that do not affect what it shows.
_HIDDEN_KEYS = (
    *("/Annots", "/Metadata", "/PieceInfo", "/AA", "/LastModified", "/Thumb", "/B", "/StructParents", "/StructParent"),
    *("/OPI", "/Alternates", "/AF", "/ID", "/Name"),
)


class Document(NamedTuple):
    """A document within an object.

    Attributes
    ----------
    data
        Its bytes, without hidden content.
    media_type
        One of the known media types; empty for any other.
    """

    data: bytes
    media_type: str


def extract_document(received: Dataset, profile: Profile) -> Document | None:
    """Extract the document from an object, unless the profile removes it.

    Parameters
    ----------
    received
        As received; it is not changed.
    profile
        The rules, which may remove, empty or replace Encapsulated Document.

    Returns
    -------
    Document or None
        ``None`` if there is none, or if the attribute rules empty it.

    Raises
    ------
    Unacceptable
        When it is damaged or encrypted.
    """
    if not _retains_document(received, profile):
        return None
    data = received["EncapsulatedDocument"].value
    if not isinstance(data, bytes) or not data:
        raise Unacceptable(
            "This DICOM file should contain a document, but the document is missing. Export it again from its source.",
            reason="damaged",
        )
    length = received.get("EncapsulatedDocumentLength")
    if isinstance(length, int) and 0 < length < len(data):
        data = data[:length]
    media_type = media_type_of(received, data)
    return Document(clean_pdf(data) if media_type == PDF else data, media_type)


def review_reason_beside_pixels(received: Dataset, profile: Profile, identity: IdentifyingText | None = None) -> str:
    """Give the reason why a person must review content other than pixels; empty if nobody must.

    Parameters
    ----------
    received
        As received.
    profile
        The rules.
    identity
        Words that identify a person; by default those of the object itself.

    Returns
    -------
    str
        A sentence for the reviewer.
    """
    if _retains_document(received, profile):
        data = received["EncapsulatedDocument"].value
        return _review_reason(media_type_of(received, data if isinstance(data, bytes) else b""))
    if str(received.get("SOPClassUID", "")) in _AUDIO:
        return "A recorded voice can be recognized and may say a name; a person must decide."
    if numbers_contain_text(received, identity if identity is not None else identifying_text_of(received)):
        return "The numeric data of this object contain bytes that read like text; a person must review it."
    return ""


def _retains_document(received: Dataset, profile: Profile) -> bool:
    """Whether an object is a document that stays; a document in any other object is emptied by the attribute rules."""
    if "EncapsulatedDocument" not in received or kind_of(received).shown_as != "document":
        return False
    special = profile.special_of(_DOCUMENT)
    return special is None or special.action == "keep"


def _review_reason(media_type: str) -> str:
    if media_type == PDF:
        return "The pages of this document may name a person, which no program can exclude; a person must read them."
    if media_type == "text/xml":
        return "A clinical document names people, and no program finds all names; a person must read it."
    if media_type in MODEL_TYPES:
        return "A model of a body may show a face, and its file may contain text; a person must review it."
    return "This object contains a document of an unknown type, which no program can check; a person must review it."


def clean_pdf(data: bytes) -> bytes:
    """Rewrite a PDF with its visible pages only.

    Metadata, annotations, forms, bookmarks, attachments, scripts and earlier versions are removed, so that a person who
    reads the pages has read everything but text that is hidden within them.

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
        When it is damaged, encrypted, or has too many pages.
    """
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unacceptable(
                "The document in this file is protected by a password. Export it without one.",
                reason="unsupported",
            )
        pages = len(reader.pages)
        if not 1 <= pages <= _MOST_PAGES:
            raise Unacceptable(
                f"The document in this file has {pages:,} pages; 1 to {_MOST_PAGES:,} are accepted.",
                reason="unsupported",
            )
        writer = PdfWriter()
        visited: set[int] = set()
        for page in reader.pages:
            _remove_hidden_keys(page, visited)
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


def _remove_hidden_keys(page: DictionaryObject, visited: set[int]) -> None:
    """Remove the keys that are not drawn from a page and from all objects that it uses."""
    stack: list[Any] = [page]
    while stack:
        node = stack.pop()
        node = node.get_object() if isinstance(node, IndirectObject) else node
        if id(node) in visited or node is None:
            continue
        visited.add(id(node))
        if len(visited) > _MOST_OBJECTS:
            raise ValueError("it has too many objects")
        if isinstance(node, DictionaryObject):
            for key in _HIDDEN_KEYS:
                if key in node:
                    del node[key]
            stack += [node.raw_get(key) for key in list(node) if key != "/Parent"]
        elif isinstance(node, ArrayObject):
            stack += list(node)


def declare_document_reviewed(dicom: bytes) -> bytes:
    """Declare that a person has read the document of an object and that it names nobody (PS3.3, C.24.2)."""

    def mark(dataset: Dataset) -> None:
        if "EncapsulatedDocument" in dataset:
            dataset.BurnedInAnnotation = "NO"

    return redact(dicom, {}, mark)
