# SPDX-License-Identifier: Apache-2.0
"""A stored DICOM file that is to belong to another study and series."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread, dcmwrite

from medhub.science.imaging.dicom.received_file import quiet


def reassign_uids(dicom: bytes, study_instance_uid: str, series_instance_uid: str) -> bytes:
    """Write a file anew under the UIDs of another study and series (PS3.3, C.7.2.1 and C.7.3.1).

    Only Study Instance UID (0020,000D) and Series Instance UID (0020,000E) of the object itself change. Every other
    element, its pixel data among them, is written as it was read, undecoded; so is what the object says of others
    (Referenced Study, Referenced Series), which stay where they are. The SOP Instance UID stays, since the object says
    the same as before.

    Parameters
    ----------
    dicom
        A file that is stored (PS3.10).
    study_instance_uid, series_instance_uid
        The UIDs of the place.

    Returns
    -------
    bytes
        The whole file, in the same transfer syntax.

    Raises
    ------
    ValueError
        When the file does not name a study and a series.
    """
    with quiet():
        dataset = dcmread(BytesIO(dicom))
        if "StudyInstanceUID" not in dataset or "SeriesInstanceUID" not in dataset:
            raise ValueError("this file names no study and no series")
        dataset.StudyInstanceUID = study_instance_uid
        dataset.SeriesInstanceUID = series_instance_uid
        out = BytesIO()
        dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()
