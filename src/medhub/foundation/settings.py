# SPDX-License-Identifier: Apache-2.0
"""The settings of an installation, in one frozen object that an entrypoint builds and passes on.

Every setting is an environment variable with the prefix ``MEDHUB_``. Secrets are read from files or from the
environment; none has a default value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def _split_origins(origins: str | None) -> tuple[str, ...]:
    """The origins as browsers write them: in lower case, without a slash at the end."""
    named = (origin.strip().lower().rstrip("/") for origin in (origins or "").split(","))
    return tuple(origin for origin in named if origin)


def default_data_folder() -> Path:
    """The default data folder of the user."""
    return user_data_path("medhub", appauthor=False)


class Settings(BaseSettings):
    """The settings; see ``docs/reference/settings.md``."""

    model_config = SettingsConfigDict(env_prefix="MEDHUB_", frozen=True, extra="ignore")

    data: Annotated[Path, Field(description="Folder of the database, the blobs and the keys.")] = Field(
        default_factory=default_data_folder
    )
    database_url: Annotated[
        str | None, Field(description="SQLAlchemy URL of a PostgreSQL database; if not set, SQLite in the data folder.")
    ] = None
    master_key: Annotated[
        SecretStr | None, Field(description="Master key, 32 bytes in hexadecimal; takes precedence over the file.")
    ] = None
    master_key_file: Annotated[
        Path | None, Field(description="File with the master key; `keys/master.key` in the data folder if not set.")
    ] = None
    classifiers: Annotated[
        Path | None, Field(description="Folder of classifiers; if not set, the ones that Medhub includes.")
    ] = None
    pathways: Annotated[
        Path | None, Field(description="Folder of pathway files, in addition to the ones that Medhub includes.")
    ] = None
    web: Annotated[Path | None, Field(description="Folder of the built web app.")] = None
    host: Annotated[str, Field(description="Address that the server listens on.")] = "127.0.0.1"
    port: Annotated[int, Field(description="Port that the server listens on.", ge=0, le=65535)] = 8000
    processes: Annotated[
        int, Field(description="Processes that answer requests; more than one uses more cores.", ge=1, le=64)
    ] = 1
    trusted_proxy: Annotated[bool, Field(description="Trust Forwarded and X-Forwarded headers of a reverse proxy.")] = (
        False
    )
    trusted_proxies: Annotated[
        str | None,
        Field(description="Addresses and networks of all reverse proxies, separated by commas, if there are several."),
    ] = None
    connections_per_address: Annotated[
        int,
        Field(
            description="HTTP connections that one address may have with each process; "
            "those of trusted proxies do not count.",
            ge=8,
        ),
    ] = 256
    request_header_s: Annotated[
        float, Field(description="Seconds in which the header of an HTTP request must arrive.", gt=0)
    ] = 20.0
    request_min_bytes_per_s: Annotated[
        int, Field(description="Bytes per second that an upload or DICOM node must send, on average of 30 s.", ge=0)
    ] = 512
    dicomweb_origins: Annotated[
        str | None,
        Field(description="Origins of web pages that may use DICOMweb (CORS), separated by commas."),
    ] = None
    session_hours: Annotated[int, Field(description="Hours after which a browser must sign in again.", ge=1)] = 12
    token_minutes: Annotated[int, Field(description="Minutes until an API token expires.", ge=1, le=1440)] = 30
    second_person_days: Annotated[
        int,
        Field(
            description="Days for which two people do not count as independent after one gave the other an account, a "
            "password or the role of an administrator.",
            ge=0,
        ),
    ] = 30
    upload_max_bytes: Annotated[int, Field(description="Largest accepted file, in bytes.", ge=1)] = 200 * 1024**2
    upload_max_pixels: Annotated[int, Field(description="Largest accepted image, in pixels.", ge=1)] = 100_000_000
    upload_max_files: Annotated[int, Field(description="Most files in one upload request.", ge=1)] = 500
    receiving_memory_bytes: Annotated[
        int,
        Field(
            description="Received bytes that a process holds in memory over all uploads or associations; "
            "at least the largest accepted file.",
            ge=1,
        ),
    ] = 512 * 1024**2
    dataset_max_bytes: Annotated[
        int, Field(description="Largest accepted ZIP of labeled images, in bytes; it is held in memory.", ge=1)
    ] = 512 * 1024**2
    quarantine_days: Annotated[int, Field(description="Days after which quarantined files are deleted.", ge=1)] = 30
    export_days: Annotated[int, Field(description="Days after which a finished export is deleted.", ge=1)] = 7
    decoder_workers: Annotated[
        int, Field(description="Processes that decode received files, for each process of the server.", ge=1)
    ] = 2
    reading_workers: Annotated[
        int, Field(description="Processes that detect text in received images, for each process of the server.", ge=1)
    ] = 1
    decoder_memory_bytes: Annotated[int, Field(description="Memory of one decoding process, in bytes.")] = 2 * 1024**3
    decoder_timeout_s: Annotated[float, Field(description="Seconds after which a decoding process is stopped.")] = 30.0
    job_runners: Annotated[int, Field(description="Threads of the server that run jobs; 0 leaves them to workers.")] = 1
    job_lease_s: Annotated[float, Field(description="Seconds for which a job is leased to its runner.", gt=0)] = 30.0
    dicom_port: Annotated[
        int | None,
        Field(
            description="Port for DICOM nodes; `medhub serve` starts the DICOM listener if it is set.", ge=0, le=65535
        ),
    ] = None
    dicom_host: Annotated[str, Field(description="Address that the DICOM listener listens on.")] = "127.0.0.1"
    dicom_ae_title: Annotated[
        str, Field(description="AE title of this installation.", min_length=1, max_length=16, pattern=r"^[!-\[\]-~]+$")
    ] = "MEDHUB"
    dicom_tls_certificate: Annotated[
        Path | None, Field(description="Certificate (PEM) of the DICOM listener; if set, only TLS is accepted.")
    ] = None
    dicom_tls_key: Annotated[Path | None, Field(description="Private key (PEM) of that certificate.")] = None
    dicom_tls_ca: Annotated[
        Path | None, Field(description="Certificates (PEM) of the authorities that sign certificates of DICOM nodes.")
    ] = None
    dicom_tls_client_required: Annotated[bool, Field(description="Refuse DICOM nodes without a certificate.")] = False
    dicom_associations: Annotated[
        int, Field(description="Associations with DICOM nodes at the same time.", ge=1, le=1000)
    ] = 32
    dicom_associate_s: Annotated[
        float, Field(description="Seconds in which a DICOM node must have requested its association.", gt=0)
    ] = 10.0
    dicom_unadmitted_per_address: Annotated[
        int, Field(description="Connections of one address that have not opened an association yet.", ge=1)
    ] = 16
    dicom_pdu_bytes: Annotated[
        int, Field(description="Largest PDU that DICOM nodes may send, in bytes; 0 means no limit.", ge=0)
    ] = 0
    dicom_idle_s: Annotated[
        float, Field(description="Seconds of inactivity after which an association is closed.", gt=0)
    ] = 60.0
    dicom_backlog_bytes: Annotated[
        int,
        Field(description="Unprocessed bytes received by C-STORE above which receiving pauses.", ge=1),
    ] = 1024**3
    dicom_intake_threads: Annotated[
        int, Field(description="DICOM nodes whose objects are processed at the same time.", ge=1, le=64)
    ] = 2
    log_json: Annotated[bool, Field(description="Write the log as JSON lines.")] = False

    @field_validator("dicomweb_origins")
    @classmethod
    def _check_origins(cls, origins: str | None) -> str | None:
        for origin in _split_origins(origins):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError("an origin is a scheme and a host, such as https://viewer.example.org")
        return origins

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins of web pages that may use DICOMweb."""
        return _split_origins(self.dicomweb_origins)

    @property
    def budget_bytes(self) -> int:
        """``receiving_memory_bytes``, or the size of the largest file if that is more."""
        return max(self.receiving_memory_bytes, self.upload_max_bytes, self.dataset_max_bytes) + 1024**2

    @property
    def sqlalchemy_url(self) -> str:
        """The URL of the database."""
        if self.database_url:
            return self.database_url
        return f"sqlite:///{self.data / 'medhub.sqlite'}"

    @property
    def blobs_folder(self) -> Path:
        """The folder of the blobs."""
        return self.data / "blobs"

    @property
    def unassigned_folder(self) -> Path:
        """The folder of encrypted files that are not assigned to a patient."""
        return self.data / "unassigned"

    @property
    def exports_folder(self) -> Path:
        """The folder of finished exports."""
        return self.data / "exports"

    @property
    def intake_folder(self) -> Path:
        """The folder of encrypted DICOM objects that are not processed yet."""
        return self.data / "intake"

    @property
    def keys_folder(self) -> Path:
        """The folder of the keys that the first start creates."""
        return self.data / "keys"
