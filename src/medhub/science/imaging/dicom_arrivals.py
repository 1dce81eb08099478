# SPDX-License-Identifier: Apache-2.0
"""A received DICOM image made into one without identity: allowed attributes, keyed UIDs, pixels as they are."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydicom import DataElement, Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medhub.science.deid.attributes import NestedTooDeep, keep_allowed
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.codestreams import FrameFault, clean_frame
from medhub.science.imaging.frames import read_frame
from medhub.science.imaging.limits import Limits, Unacceptable
from medhub.science.imaging.photograph import small, thumbnail
from medhub.science.imaging.prepared import Context, Prepared
from medhub.science.imaging.received_dicom import Received, number_of_frames, quiet, read_received
from medhub.science.imaging.wrapping import write_file, write_subject

_RECOPY = "Copy or export it again from its source."


class _Pixels(NamedTuple):
    """Pixel data as they are stored."""

    data: bytes
    transfer_syntax: UID
    changed: bool


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
    pixels = _pixels(received, syntax)
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


def _pixels(received: Dataset, syntax: UID) -> _Pixels:
    element = received["PixelData"]
    value = element.value
    if not isinstance(value, bytes) or bool(element.is_undefined_length) != syntax.is_encapsulated:
        raise Unacceptable(
            f"The pixels of this DICOM file are not encoded as its transfer syntax says. {_RECOPY}", reason="damaged"
        )
    if syntax.is_encapsulated:
        return _Pixels(_clean_frames(received, value, syntax), syntax, False)
    data, changed = _native(received, value, big_endian=syntax == ExplicitVRBigEndian, vr=str(element.VR))
    return _Pixels(data, ExplicitVRLittleEndian, changed)


def _clean_frames(received: Dataset, value: bytes, syntax: UID) -> bytes:
    expected = number_of_frames(received)
    shape = (int(received.Rows), int(received.Columns), int(received.SamplesPerPixel))
    offsets = None
    if "ExtendedOffsetTable" in received and "ExtendedOffsetTableLengths" in received:
        offsets = (received.ExtendedOffsetTable, received.ExtendedOffsetTableLengths)
    frames: list[bytes] = []
    try:
        for number, frame in enumerate(
            generate_frames(value, number_of_frames=expected, extended_offsets=offsets), start=1
        ):
            if number > expected:
                break
            cleaned = clean_frame(frame, syntax)
            if cleaned.size is not None and cleaned.size != shape:
                raise Unacceptable(
                    f"Frame {number} of this DICOM file has another size than the file declares. {_RECOPY}",
                    reason="damaged",
                )
            frames.append(cleaned.data)
    except FrameFault as fault:
        raise Unacceptable(
            f"Frame {len(frames) + 1} of {expected} of this DICOM file is damaged: {fault}. {_RECOPY}",
            reason="truncated" if fault.truncated else "damaged",
        ) from fault
    except Unacceptable:
        raise
    except Exception as error:
        raise Unacceptable(
            f"The frames of this DICOM file cannot be told apart. {_RECOPY}", reason="damaged"
        ) from error
    if len(frames) < expected:
        raise Unacceptable(
            f"This DICOM file has {len(frames)} of the {expected} frames that it declares. {_RECOPY}",
            reason="truncated",
        )
    return encapsulate(frames)


def _native(received: Dataset, value: bytes, *, big_endian: bool, vr: str) -> tuple[bytes, bool]:
    """Cut native pixels to their length, in little endian, with nothing in the bits that are not stored bits."""
    expected = get_expected_length(received)
    if len(value) < expected:
        raise Unacceptable(
            f"The pixels of this DICOM file end too early: {len(value):,} of {expected:,} bytes are there. {_RECOPY}",
            reason="truncated",
        )
    allocated, stored = int(received.BitsAllocated), int(received.BitsStored)
    cell = 16 if allocated <= 8 and vr == "OW" else allocated
    padded = expected + expected % 2
    data = value[:padded] if cell > 8 else value[:expected]
    if big_endian and cell > 8:
        data = data.ljust(padded, b"\x00")
        data = np.frombuffer(data, f">u{cell // 8}").astype(f"<u{cell // 8}").tobytes()
    data = data[:expected]
    changed = False
    if 1 < stored < allocated:
        kind = "i" if int(received.get("PixelRepresentation", 0) or 0) == 1 else "u"
        cells = np.frombuffer(data, f"<{kind}{allocated // 8}")
        shift = allocated - stored
        cleared = cells << shift >> shift
        changed = not np.array_equal(cleared, cells)
        if changed:
            data = cleared.tobytes()
    return data + b"\x00" * (len(data) % 2), changed
