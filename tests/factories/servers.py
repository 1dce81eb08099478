# SPDX-License-Identifier: Apache-2.0
"""A server on this machine that programs of others can talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import jwt
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydicom import Dataset, FileMetaDataset, dcmread, dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from medhub.accounts import authentication
from medhub.foundation import clock
from medhub.foundation.app_context import AppContext
from tests.factories.accounts import signed_in


@contextmanager
def serving(web_app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; gives its address."""
    config = uvicorn.Config(
        web_app, host="127.0.0.1", port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def token_of(app: AppContext, email: str) -> str:
    """The API token of a person."""
    actor = signed_in(app, email)
    claims = {
        "sub": actor.user_id,
        "jti": actor.sign_in_id,
        "aud": authentication.AUDIENCE,
        "exp": clock.now().timestamp() + 3600,
    }
    return jwt.encode(claims, app.keys.derive("api-tokens"), algorithm=authentication.ALGORITHM)


def small_ct(number: int = 1, *, study: str = "1.2.3", series: str = "1.2.3.1", patient: str = "4711") -> Dataset:
    """A small CT of a study; each number gives other pixels."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.SOPInstanceUID = f"{series}.{number}"
    dataset.PatientID, dataset.PatientName = patient, f"DOE^{'ABCDEFGHIJ'[int(patient[-1])]}"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.Modality, dataset.StudyDate = (
        "19700102",
        "F",
        "CT",
        "20200131",
    )
    dataset.SeriesNumber, dataset.InstanceNumber = 3, number
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = 16, 24
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.PixelData = (np.arange(16 * 24, dtype="<u2") * 7 + number).astype("<u2").tobytes()
    return with_meta(dataset)


def with_meta(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """The dataset with the file meta information that writing it needs."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def written(dataset: Dataset) -> bytes:
    """The bytes of a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def read(data: bytes) -> Dataset:
    """A DICOM file from bytes."""
    return dcmread(BytesIO(data))
