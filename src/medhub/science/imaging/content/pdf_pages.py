# SPDX-License-Identifier: Apache-2.0
"""Pages of PDF documents as pictures and text, by PDFium; scripts, forms and links are not run."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pypdfium2
from numpy.typing import NDArray
from pydicom import dcmread

from medhub.errors import Invalid
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.encapsulated_document import PDF, media_type_of
from medhub.science.imaging.dicom.received_file import quiet

PAGE_PIXELS = 1_600
"""Longest side of a page as it is shown."""

_MAX_PIXELS = 20_000_000
_MAX_CHARACTERS = 200_000


def document_in(dicom: bytes) -> tuple[bytes, str]:
    """The document of a stored object, and its media type; empty where the type is unknown.

    Raises
    ------
    Unacceptable
        When there is none.
    """
    with quiet():
        dataset = dcmread(BytesIO(dicom))
    value = dataset.get("EncapsulatedDocument")
    if not isinstance(value, bytes) or not value:
        raise Unacceptable("This object holds neither a picture nor a document.", reason="unsupported")
    length = dataset.get("EncapsulatedDocumentLength")
    data = value[:length] if isinstance(length, int) and 0 < length < len(value) else value
    return data, media_type_of(dataset, data)


def read_page_size(dicom: bytes) -> tuple[int, int, int]:
    """Pages of the document of an object, and rows and columns of the first; zeros where it has no pages."""
    data, media_type = document_in(dicom)
    if not is_pdf(media_type):
        return 0, 0, 0
    rows, columns = page_picture(data, 0, PAGE_PIXELS).shape[:2]
    return page_count(data), rows, columns


def page_count(pdf: bytes) -> int:
    """The number of pages."""
    with _open_pdf(pdf) as document:
        return len(document)


def page_picture(pdf: bytes, number: int, size: int) -> NDArray[np.uint8]:
    """Draw a page.

    Parameters
    ----------
    pdf
        The document.
    number
        Of the page, from 0.
    size
        Pixels at its longest side.

    Returns
    -------
    ndarray of uint8
        Array of shape (rows, columns, 3), RGB, black on white.

    Raises
    ------
    Invalid
        When there is no such page.
    Unacceptable
        When the document cannot be read.
    """
    with _open_pdf(pdf) as document:
        if not 0 <= number < len(document):
            raise Invalid(f"The document has {len(document)} pages; there is no page {number + 1}.", field="frame")
        try:
            page = document[number]
            width, height = page.get_size()
            scale = size / max(width, height, 1.0)
            if width * height * scale * scale > _MAX_PIXELS:
                raise Unacceptable("This page is too large to be drawn.", reason="too-many-pixels")
            # Notes and forms are not drawn.
            drawn = page.render(scale=scale, may_draw_forms=False, draw_annots=False, rev_byteorder=True)
            return np.ascontiguousarray(drawn.to_numpy()[..., :3])
        except pypdfium2.PdfiumError as error:
            raise Unacceptable("This page is damaged and cannot be drawn.", reason="damaged") from error


def page_texts(pdf: bytes) -> list[str]:
    """The text of each page, with hidden text; pages after the limit are empty."""
    texts, left = [], _MAX_CHARACTERS
    with _open_pdf(pdf) as document:
        for number in range(len(document)):
            text = ""
            if left > 0:
                try:
                    text = document[number].get_textpage().get_text_bounded()[:left]
                except pypdfium2.PdfiumError:
                    text = ""
            left -= len(text)
            texts.append(text)
    return texts


class _open_pdf:
    def __init__(self, pdf: bytes) -> None:
        self._pdf = pdf

    def __enter__(self) -> pypdfium2.PdfDocument:
        try:
            self._document = pypdfium2.PdfDocument(self._pdf)
            return self._document
        except pypdfium2.PdfiumError as error:
            raise Unacceptable(
                "The document in this file is damaged and cannot be read. Export it again from its source.",
                reason="damaged",
            ) from error

    def __exit__(self, *_: object) -> None:
        self._document.close()


def is_pdf(media_type: str) -> bool:
    """Whether a media type is that of a document with pages."""
    return media_type == PDF
