# SPDX-License-Identifier: Apache-2.0
"""A stored object in a transfer syntax that its receiver takes."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medhub.science import pixel_decoders
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.dicom.received_file import quiet

pixel_decoders.register()


def transcode(dicom: bytes, syntax: str) -> bytes:
    """Write a stored object's data set in one of the two plain syntaxes, its pixels decoded (PS3.5 annex A).

    Parameters
    ----------
    dicom
        A file that ``prepare_arrival`` made.
    syntax
        UID of Implicit or Explicit VR Little Endian.

    Returns
    -------
    bytes
        The data set, without file meta information.

    Raises
    ------
    Unacceptable
        When the object cannot be written so: its pixels cannot be decoded, or it holds a video.
    """
    if syntax not in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        raise Unacceptable("Objects are rewritten to plain syntaxes alone.", reason="unsupported")
    with quiet():
        try:
            dataset = dcmread(BytesIO(dicom))
            if UID(dataset.file_meta.TransferSyntaxUID).is_compressed and "PixelData" in dataset:
                # Not to RGB: what the values mean stays as it was said.
                dataset.decompress(as_rgb=False, generate_instance_uid=False)
            stream = DicomBytesIO()
            stream.is_implicit_VR, stream.is_little_endian = syntax == ImplicitVRLittleEndian, True
            del dataset.file_meta
            write_dataset(stream, dataset)
            return bytes(stream.getvalue())
        except MemoryError:
            raise
        except Exception as error:  # decoders raise what they like
            raise Unacceptable(
                "This object cannot be decoded for a receiver that takes plain syntaxes alone.", reason="unsupported"
            ) from error
