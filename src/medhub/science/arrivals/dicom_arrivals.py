# SPDX-License-Identifier: Apache-2.0
"""De-identification of a received DICOM object: allowed attributes, keyed UIDs, unchanged pixels."""

from __future__ import annotations

import hashlib
import re

from PIL import Image
from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.patient_age import age_at_study, study_year_of
from medhub.science.arrivals.photograph_wrapping import write_subject
from medhub.science.deid.attributes.element_context import NestedTooDeep
from medhub.science.deid.byte_order import to_little_endian
from medhub.science.deid.decimal_commas import comma_note, read_decimal_commas
from medhub.science.deid.element_cache import deidentify_cached
from medhub.science.deid.embedded_documents import Document, extract_document, review_reason_beside_pixels
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of, identifying_text_of_person
from medhub.science.deid.manifest import manifest_of, record_removed
from medhub.science.deid.numeric_elements import restore_numbers
from medhub.science.deid.pixel_cleaning import may_contain_text
from medhub.science.deid.pixel_risks import is_picture, may_show_face, needs_complete_search
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.object_checks import number_of_frames
from medhub.science.imaging.dicom.object_kinds import PIXEL_KEYWORDS, Kind, class_name, kind_of
from medhub.science.imaging.dicom.received_file import Received, quiet, read_received
from medhub.science.imaging.dicom.search_attributes import attributes_of
from medhub.science.imaging.dicom.stored_pixels import clean_pixels, put_pixels
from medhub.science.imaging.photographs.photograph import small, thumbnail
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.pixel_aspect import pixel_aspect, with_square_pixels

_IDENTITY = (("name", "PatientName"), ("hospital_number", "PatientID"), ("birth_date", "PatientBirthDate"))
_UID = re.compile(r"[0-9.]{1,64}")
_RECOPY = "Copy or export it again from its source."


def prepare_dicom(data: bytes, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    """De-identify a received DICOM file.

    Only the attributes stay that the profile of the context keeps, at every depth. UIDs are replaced by keyed ones that
    are valid for one patient, so that no image can be added to the study of another patient. Text in pixels is not made
    black here; the result says whether the pixels must be searched for it. Those of reconstructed images must be
    searched only if they have areas that may contain text. Compressed frames stay in their transfer syntax, without
    comments; native frames become explicit little endian. Bits beside the stored bits of a pixel, which may hold old
    overlays, are cleared. Documents keep only their pages, and only after a person has read them.

    Parameters
    ----------
    data
        The received bytes.
    context
        The values that replace those of the received file.
    limits
        The largest accepted file.

    Returns
    -------
    CleanedImage
        The object, and its thumbnail if it has pixels.

    Raises
    ------
    Unacceptable
        When the file cannot be accepted.
    """
    received = read_received(data, limits)
    with quiet():
        try:
            return _prepare(received, data, context, limits)
        except Unacceptable:
            raise
        except NestedTooDeep as error:
            raise Unacceptable(
                f"The sequences of this DICOM file are nested deeper than {limits.max_depth} levels, which no device "
                "writes. The file is damaged or malicious.",
                reason="damaged",
            ) from error
        except MemoryError as error:
            raise Unacceptable(
                "Reading this DICOM file takes more memory than is allowed for a file. Export it in parts.",
                reason="too-many-pixels",
            ) from error
        # A parser may raise anything on hostile attributes, and only when they are read; all mean the same.
        except Exception as error:
            raise Unacceptable(
                f"This DICOM file is damaged: its attributes cannot be read. {_RECOPY}", reason="damaged"
            ) from error


def _prepare(file: Received, data: bytes, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    received, syntax, elements = file
    kind = kind_of(received)
    commas = read_decimal_commas(received, elements)
    identity = identifying_text_of(received) | identifying_text_of_person(context.known)
    unseen = _must_be_searched(received, kind, context, identity)
    pixels = clean_pixels(received, syntax, kind.pixels, limits) if kind.pixels is not None else None
    document = extract_document(received, context.profile)
    file_identity = _read_identity(received)
    for keyword in PIXEL_KEYWORDS:
        if keyword in received:
            del received[keyword]
    cleaned = deidentify_cached(
        received, context.profile, context.subject, max_depth=limits.max_depth, identity=identity, elements=elements
    )
    dataset = cleaned.dataset
    if syntax == ExplicitVRBigEndian:
        to_little_endian(dataset)
    restore_numbers(received, dataset, big_endian=syntax == ExplicitVRBigEndian)
    notes = (*_replace_private_class(dataset, kind), *comma_note(commas))
    _write_age(received, dataset, context)
    _write_required_attributes(dataset, context, hashlib.sha256(data).hexdigest(), study_year=study_year_of(received))
    if document is not None:
        _put_document(dataset, document)
    actions = (*cleaned.actions, *commas) if commas else cleaned.actions
    if pixels is not None and kind.pixels is not None:
        actions = record_removed(actions, put_pixels(dataset, pixels, kind.pixels))
        notes += pixels.notes
    stored_syntax = pixels.transfer_syntax if pixels is not None else ExplicitVRLittleEndian
    stored = write_file(dataset, stored_syntax, cleaned.shared)
    # Whether compressed frames can be decoded is known only by decoding one.
    at_once = context.shown or stored_syntax.is_encapsulated
    unseen, searched = _search_quickly(stored, dataset, unseen=unseen)
    return CleanedImage(
        dicom=stored,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(stored_syntax),
        modality=str(dataset.Modality),
        kind="dicom",
        rows=int(dataset.Rows) if pixels is not None else 0,
        columns=int(dataset.Columns) if pixels is not None else 0,
        frames=number_of_frames(dataset) if pixels is not None else 0,
        samples=int(dataset.SamplesPerPixel) if pixels is not None else 0,
        bits=int(dataset.get("BitsStored") or dataset.BitsAllocated) if pixels is not None else 0,
        lossless=True,
        thumbnail=thumbnail(_preview(stored, dataset)) if pixels is not None and at_once else b"",
        notes=notes,
        manifest=manifest_of(actions),
        unseen=unseen,
        searched=searched,
        identity=file_identity,
        shown_as=kind.shown_as,
        attributes=attributes_of(dataset, context.attributes),
    )


def _must_be_searched(received: Dataset, kind: Kind, context: CleaningContext, identity: IdentifyingText) -> bool:
    """Whether an object must be searched for text, or reviewed, before it is stored, whatever its pixels are."""
    if review_reason_beside_pixels(received, context.profile, identity):
        return True
    if kind.pixels is None or not is_picture(received):
        return False
    pixel_rules = context.profile.pixels
    face = pixel_rules.faces == "hold" and may_show_face(received)
    return bool(face or needs_complete_search(received, context.profile))


def _search_quickly(stored: bytes, dataset: Dataset, *, unseen: bool) -> tuple[bool, bool]:
    """Whether the pixels of a file must still be searched for text, and whether a quick search has shown none."""
    if unseen or not any(keyword in dataset for keyword in PIXEL_KEYWORDS) or not is_picture(dataset):
        return unseen, False
    unseen = may_contain_text(stored)
    return unseen, not unseen


def _replace_private_class(dataset: Dataset, kind: Kind) -> tuple[str, ...]:
    if kind.pixels is None or _is_standard_class(str(dataset.get("SOPClassUID", "") or "")):
        return ()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    return ("The SOP Class was missing or private; the object is stored as Secondary Capture.",)


def _write_age(received: Dataset, dataset: Dataset, context: CleaningContext) -> None:
    """Write the age at the study where the file has its dates but not the age."""
    if "characteristics" in context.profile.options and not dataset.get("PatientAge"):
        age = age_at_study(received)
        if age:
            dataset.PatientAge = age


def _write_required_attributes(
    dataset: Dataset, context: CleaningContext, digest: str, *, study_year: int | None
) -> None:
    """Write missing identifiers and the attributes that every object must have (types 1 and 2)."""
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        # Several values, or one that is not a UID, identify nothing.
        if not _UID.fullmatch(str(dataset.get(keyword) or "")):
            dataset.add(DataElement(keyword, "UI", keyed_uid(context.uid_key, keyword, context.patient_code, digest)))
    if not dataset.get("Modality"):
        dataset.add(DataElement("Modality", "CS", "OT"))
    if "Rows" in dataset and not dataset.get("ImageType"):
        dataset.add(DataElement("ImageType", "CS", ["DERIVED", "SECONDARY"]))
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if keyword not in dataset:
            dataset.add(DataElement(keyword, "IS", None))
    write_subject(dataset, context, study_year=study_year)


def _put_document(dataset: Dataset, document: Document) -> None:
    dataset.add(DataElement("EncapsulatedDocument", "OB", document.data + bytes(len(document.data) % 2)))
    dataset.EncapsulatedDocumentLength = len(document.data)
    if document.media_type:
        dataset.MIMETypeOfEncapsulatedDocument = document.media_type
    # Until a person has read it.
    dataset.BurnedInAnnotation = "YES"


def _read_identity(received: Dataset) -> dict[str, str]:
    """The identity in a file, by the names of the vault."""
    identity = {}
    for name, keyword in _IDENTITY:
        try:
            value = str(received.get(keyword, "") or "").strip()
        except Exception:  # noqa: S112  # a value that cannot be read is left out
            continue
        if name == "birth_date":
            value = value.replace(".", "") if re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", value) else value  # PS3.5, 6.2
            value = f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 and value.isdigit() else ""
        if value:
            identity[name] = " ".join(value.replace("^", " ").split())[:300]
    return identity


def _is_standard_class(uid: str) -> bool:
    entry = UID_dictionary.get(uid)
    return bool(class_name(uid)) or (entry is not None and "SOP Class" in entry[1])


def _preview(file: bytes, dataset: Dataset) -> Image.Image:
    # The frame is read as later readers read it; an image that cannot be shown is refused.
    return with_square_pixels(small(read_frame(file)), pixel_aspect(dataset))
