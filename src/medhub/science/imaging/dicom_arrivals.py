# SPDX-License-Identifier: Apache-2.0
"""A received DICOM image made into one without identity: allowed attributes, keyed UIDs, pixels as they are."""

from __future__ import annotations

import hashlib

from PIL import Image
from pydicom import DataElement, Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, SecondaryCaptureImageStorage

from medhub.science.deid.attributes import NestedTooDeep, keep_allowed
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.frames import read_frame
from medhub.science.imaging.limits import Limits, Unacceptable
from medhub.science.imaging.photograph import small, thumbnail
from medhub.science.imaging.prepared import Context, Prepared
from medhub.science.imaging.received_dicom import Received, number_of_frames, quiet, read_received
from medhub.science.imaging.stored_pixels import clean_pixels
from medhub.science.imaging.wrapping import write_file, write_subject

_RECOPY = "Copy or export it again from its source."


def prepare_dicom(data: bytes, context: Context, limits: Limits) -> Prepared:
    """Make a received DICOM file into one without identity.

    Of the attributes only those of the allow-list stay, at every depth; patient, study date and equipment are written
    from the context; UIDs are replaced by keyed ones that hold for one patient, so that nobody can place an image in
    another patient's study. Compressed frames stay in their syntax, without comments; native ones become explicit
    little endian. Bits of a pixel's cell that are not stored bits, where old overlays hide, are cleared.

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
    dataset = keep_allowed(
        received,
        lambda uid: keyed_uid(key, "dicom", code, uid),
        max_depth=limits.max_depth,
        little_endian=syntax != ExplicitVRBigEndian,
    )
    pixels = clean_pixels(received, syntax)
    notes: tuple[str, ...] = ()
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        notes += ("The kind of object was missing or private; it is kept as Secondary Capture.",)
    if pixels.changed:
        notes += ("Bits beside the stored bits of the pixels, where overlays can hide, were cleared.",)
    digest = hashlib.sha256(data).hexdigest()
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if keyword not in dataset:
            dataset.add(DataElement(keyword, "UI", keyed_uid(key, keyword, code, digest)))
    for keyword, default in (("Modality", "OT"), ("ImageType", ["DERIVED", "SECONDARY"])):
        if keyword not in dataset:
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
    )


def _preview(file: bytes) -> Image.Image:
    # The frame is read as every later reader will read it; what cannot be shown is not taken.
    return small(read_frame(file))


def _pixel_vr(dataset: Dataset, syntax: UID) -> str:
    return "OB" if syntax.is_encapsulated or int(dataset.BitsAllocated) <= 8 else "OW"
