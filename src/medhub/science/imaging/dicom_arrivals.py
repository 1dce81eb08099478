# SPDX-License-Identifier: Apache-2.0
"""A received DICOM image made into one without identity: allowed attributes, keyed UIDs, pixels as they are."""

from __future__ import annotations

import hashlib

from PIL import Image
from pydicom import DataElement, Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRBigEndian, SecondaryCaptureImageStorage

from medhub.science.deid.byte_order import to_little_endian
from medhub.science.deid.engine import NestedTooDeep, deidentify
from medhub.science.deid.identity import Identity, identity_of, identity_of_person
from medhub.science.deid.manifest import manifest_of
from medhub.science.deid.pixels import is_picture, may_hold_writing, may_show_face
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.frames import read_frame
from medhub.science.imaging.limits import Limits, Unacceptable
from medhub.science.imaging.photograph import small, thumbnail
from medhub.science.imaging.prepared import Context, Prepared
from medhub.science.imaging.received_dicom import Received, number_of_frames, quiet, read_received
from medhub.science.imaging.stored_pixels import clean_pixels
from medhub.science.imaging.wrapping import write_file, write_subject

_IDENTITY = (("name", "PatientName"), ("hospital_number", "PatientID"), ("birth_date", "PatientBirthDate"))
_RECOPY = "Copy or export it again from its source."


def prepare_dicom(data: bytes, context: Context, limits: Limits) -> Prepared:
    """Make a received DICOM file into one without identity.

    Of the attributes only those stay that the context's profile keeps, at every depth; UIDs are replaced by keyed ones
    that hold for one patient, so that nobody can place an image in another patient's study. Writing in pixels is not
    looked for yet; the result says whether it must be. Compressed frames stay in their syntax, without comments; native
    ones become explicit little endian. Bits of a pixel's cell that are not stored bits, where old overlays hide, are
    cleared.

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
        The image and its thumbnail.

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


def _prepare(file: Received, data: bytes, context: Context, limits: Limits) -> Prepared:
    received, syntax = file
    key, code = context.uid_key, context.patient_code
    identity = identity_of(received)
    identity = Identity(identity.words | identity_of_person(context.known).words)
    reason = may_hold_writing(received)
    wanted = context.profile.pixels
    face = wanted.faces == "hold" and may_show_face(received)
    unseen = is_picture(received) and bool(reason or face or wanted.also_reconstructed)
    pixels = clean_pixels(received, syntax)
    person = _person(received)
    del received["PixelData"]
    cleaned = deidentify(received, context.profile, context.subject, max_depth=limits.max_depth, identity=identity)
    dataset = cleaned.dataset
    if syntax == ExplicitVRBigEndian:
        to_little_endian(dataset)
    notes: tuple[str, ...] = ()
    if not _is_standard_class(str(dataset.get("SOPClassUID", "") or "")):
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        notes += ("The kind of object was missing or private; it is kept as Secondary Capture.",)
    if pixels.changed:
        notes += ("Bits beside the stored bits of the pixels, where overlays can hide, were cleared.",)
    digest = hashlib.sha256(data).hexdigest()
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not dataset.get(keyword):
            dataset.add(DataElement(keyword, "UI", keyed_uid(key, keyword, code, digest)))
    for keyword, default in (("Modality", "OT"), ("ImageType", ["DERIVED", "SECONDARY"])):
        if not dataset.get(keyword):
            dataset.add(DataElement(keyword, "CS", default))
    for keyword in ("SeriesNumber", "InstanceNumber"):
        if keyword not in dataset:
            dataset.add(DataElement(keyword, "IS", None))
    write_subject(dataset, context)
    element = DataElement("PixelData", _pixel_vr(dataset, pixels.transfer_syntax), pixels.data)
    element.is_undefined_length = pixels.transfer_syntax.is_encapsulated
    dataset["PixelData"] = element
    stored = write_file(dataset, pixels.transfer_syntax)
    return Prepared(
        dicom=stored,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(pixels.transfer_syntax),
        modality=str(dataset.Modality),
        kind="dicom",
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        frames=number_of_frames(dataset),
        samples=int(dataset.SamplesPerPixel),
        bits=int(dataset.BitsStored),
        lossless=True,
        thumbnail=thumbnail(_preview(stored)),
        notes=notes,
        manifest=manifest_of(cleaned.actions),
        unseen=unseen,
        identity=person,
    )


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
    return entry is not None and "SOP Class" in entry[1]


def _preview(file: bytes) -> Image.Image:
    # The frame is read as every later reader will read it; what cannot be shown is not taken.
    return small(read_frame(file))


def _pixel_vr(dataset: Dataset, syntax: UID) -> str:
    return "OB" if syntax.is_encapsulated or int(dataset.BitsAllocated) <= 8 else "OW"
