# SPDX-License-Identifier: Apache-2.0
"""A received DICOM object made into one without identity: allowed attributes, keyed UIDs, pixels as they are."""

from __future__ import annotations

import hashlib
import re

from PIL import Image
from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medhub.science.arrivals.cleaned_image import CleanedImage, CleaningContext
from medhub.science.arrivals.photograph_wrapping import write_subject
from medhub.science.deid.attributes.element_context import NestedTooDeep
from medhub.science.deid.byte_order import to_little_endian
from medhub.science.deid.element_cache import deidentify_cached
from medhub.science.deid.embedded_documents import Document, extract_document, review_reason_beside_pixels
from medhub.science.deid.identifying_text import IdentifyingText, identifying_text_of, identifying_text_of_person
from medhub.science.deid.manifest import manifest_of
from medhub.science.deid.numeric_elements import restore_numbers
from medhub.science.deid.pixel_cleaning import is_picture, may_hold_writing, may_show_face
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.dicom.file_writing import write_file
from medhub.science.imaging.dicom.object_checks import NATIVE_SYNTAXES, number_of_frames
from medhub.science.imaging.dicom.object_kinds import PIXEL_KEYWORDS, Kind, PixelKeyword, class_name, kind_of
from medhub.science.imaging.dicom.received_file import Received, quiet, read_received
from medhub.science.imaging.dicom.search_attributes import attributes_of
from medhub.science.imaging.dicom.stored_pixels import StoredPixels, clean_pixels
from medhub.science.imaging.photographs.photograph import small, thumbnail
from medhub.science.imaging.rendering.frames import read_frame

_IDENTITY = (("name", "PatientName"), ("hospital_number", "PatientID"), ("birth_date", "PatientBirthDate"))
_UID = re.compile(r"[0-9.]{1,64}")
_RECOPY = "Copy or export it again from its source."


def prepare_dicom(data: bytes, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    """Make a received DICOM file into one without identity.

    Of the attributes only those stay that the context's profile keeps, at every depth; UIDs are replaced by keyed ones
    that hold for one patient, so that nobody can place an image in another patient's study. Writing in pixels is not
    looked for yet; the result says whether it must be. Compressed frames stay in their syntax, without comments; native
    ones become explicit little endian. Bits of a pixel's cell that are not stored bits, where old overlays hide, are
    cleared. Documents stay with their pages alone, and only once a person has read them.

    Parameters
    ----------
    data
        The received bytes.
    context
        What is written in place of what was received.
    limits
        What is taken.

    Returns
    -------
    Prepared
        The object, and its thumbnail if it has pixels.

    Raises
    ------
    Unacceptable
        When the file cannot be taken.
    """
    received = read_received(data, limits)
    with quiet():
        try:
            return _prepare(received, data, context, limits)
        except Unacceptable:
            raise
        except NestedTooDeep as error:
            raise Unacceptable(
                f"The sequences of this DICOM file lie deeper than {limits.max_depth} levels in one another, as no "
                "device writes them. The file is damaged or made with bad intent.",
                reason="damaged",
            ) from error
        except MemoryError as error:
            raise Unacceptable(
                "Reading this DICOM file takes more memory than a file is given. Export it in parts.",
                reason="too-many-pixels",
            ) from error
        # Hostile attributes make a parser raise anything, and only once they are looked at; all mean the same.
        except Exception as error:
            raise Unacceptable(
                f"This DICOM file is damaged: its attributes cannot be read. {_RECOPY}", reason="damaged"
            ) from error


def _prepare(file: Received, data: bytes, context: CleaningContext, limits: DecodingLimits) -> CleanedImage:
    received, syntax, elements = file
    kind = kind_of(received)
    identity = identifying_text_of(received)
    identity = IdentifyingText(identity.words | identifying_text_of_person(context.known).words)
    unseen = _may_hold_writing(received, kind, context, identity)
    pixels = clean_pixels(received, syntax, kind.pixels, limits) if kind.pixels is not None else None
    document = extract_document(received, context.profile)
    person = _person(received)
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
    notes = _name_kind(dataset, kind)
    _write_what_must_be_there(dataset, context, hashlib.sha256(data).hexdigest())
    if document is not None:
        _put_document(dataset, document)
    if pixels is not None and kind.pixels is not None:
        if pixels.changed:
            notes += ("Bits beside the stored bits of the pixels, where overlays can hide, were cleared.",)
        if pixels.transfer_syntax != syntax and syntax not in NATIVE_SYNTAXES:
            notes += ("Its frames were unfolded, without any loss, since few programs read how they were packed.",)
        _put_pixels(dataset, pixels, kind.pixels)
    stored_syntax = pixels.transfer_syntax if pixels is not None else ExplicitVRLittleEndian
    stored = write_file(dataset, stored_syntax, cleaned.shared)
    # Whether compressed frames can be decoded shows only in doing so.
    at_once = context.shown or stored_syntax.is_encapsulated
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
        thumbnail=thumbnail(_preview(stored)) if pixels is not None and at_once else b"",
        notes=notes,
        manifest=manifest_of(cleaned.actions),
        unseen=unseen,
        identity=person,
        shown_as=kind.shown_as,
        attributes=attributes_of(dataset, context.attributes),
    )


def _may_hold_writing(received: Dataset, kind: Kind, context: CleaningContext, identity: IdentifyingText) -> bool:
    """Whether somebody must look through an object before it is stored."""
    if review_reason_beside_pixels(received, context.profile, identity):
        return True
    if kind.pixels is None or not is_picture(received):
        return False
    wanted = context.profile.pixels
    face = wanted.faces == "hold" and may_show_face(received)
    return bool(may_hold_writing(received) or face or wanted.also_reconstructed)


def _name_kind(dataset: Dataset, kind: Kind) -> tuple[str, ...]:
    if kind.pixels is None or _is_standard_class(str(dataset.get("SOPClassUID", "") or "")):
        return ()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    return ("The kind of object was missing or private; it is kept as Secondary Capture.",)


def _write_what_must_be_there(dataset: Dataset, context: CleaningContext, digest: str) -> None:
    """Write identifiers where a file has none, and what every object must say (type 1 and 2)."""
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        # Several, or what is no UID at all, name nothing.
        if not _UID.fullmatch(str(dataset.get(keyword) or "")):
            dataset.add(DataElement(keyword, "UI", keyed_uid(context.uid_key, keyword, context.patient_code, digest)))
    if not dataset.get("Modality"):
        dataset.add(DataElement("Modality", "CS", "OT"))
    if "Rows" in dataset and not dataset.get("ImageType"):
        dataset.add(DataElement("ImageType", "CS", ["DERIVED", "SECONDARY"]))
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if keyword not in dataset:
            dataset.add(DataElement(keyword, "IS", None))
    write_subject(dataset, context)


def _put_document(dataset: Dataset, document: Document) -> None:
    dataset.add(DataElement("EncapsulatedDocument", "OB", document.data + bytes(len(document.data) % 2)))
    dataset.EncapsulatedDocumentLength = len(document.data)
    if document.media_type:
        dataset.MIMETypeOfEncapsulatedDocument = document.media_type
    # Until a person has read it.
    dataset.BurnedInAnnotation = "YES"


def _put_pixels(dataset: Dataset, pixels: StoredPixels, keyword: PixelKeyword) -> None:
    vrs = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}
    element = DataElement(keyword, vrs.get(keyword) or _pixel_vr(dataset, pixels.transfer_syntax), pixels.data)
    element.is_undefined_length = pixels.transfer_syntax.is_encapsulated
    dataset[keyword] = element


def _person(received: Dataset) -> dict[str, str]:
    """What a file says of its patient, in the words of the vault."""
    found = {}
    for name, keyword in _IDENTITY:
        try:
            value = str(received.get(keyword, "") or "").strip()
        except Exception:  # noqa: S112  # what cannot be read says nothing
            continue
        if name == "birth_date":
            value = f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 and value.isdigit() else ""
        if value:
            found[name] = " ".join(value.replace("^", " ").split())[:300]
    return found


def _is_standard_class(uid: str) -> bool:
    entry = UID_dictionary.get(uid)
    return bool(class_name(uid)) or (entry is not None and "SOP Class" in entry[1])


def _preview(file: bytes) -> Image.Image:
    # The frame is read as every later reader will read it; what cannot be shown is not taken.
    return small(read_frame(file))


def _pixel_vr(dataset: Dataset, syntax: UID) -> str:
    return "OB" if syntax.is_encapsulated or int(dataset.BitsAllocated) <= 8 else "OW"
