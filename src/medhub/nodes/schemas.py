# SPDX-License-Identifier: Apache-2.0
"""Schemas of DICOM nodes in the JSON API."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medhub.foundation.http import IdOrName, Moment, Schema, Text
from medhub.nodes.models import DicomNode

Title = Annotated[Text, Field(min_length=1, max_length=16, description="An AE title.", examples=["CT_ROOM_2"])]
Host = Annotated[Text, Field(max_length=255, description="Host name or address of the node; empty without one.")]
Port = Annotated[int, Field(ge=0, le=65535, description="Port of the node; 0 without a host.")]


class DicomNodeOut(Schema):
    """A DICOM node."""

    id: str
    project_id: str
    ae_title: str
    called_ae: str
    host: str
    port: int
    only_from_host: bool
    tls: bool
    may_store: bool
    may_query: bool
    may_read_worklist: bool
    created_at: Moment
    created_by: str

    @classmethod
    def of(cls, node: DicomNode) -> DicomNodeOut:
        """The schema of a row."""
        return cls.model_validate(node, extra="ignore")


class DicomNodeCreate(Schema):
    """A DICOM node to register with a project."""

    project_id: Annotated[IdOrName | None, Field(description="Optional for members of a single project.")] = None
    ae_title: Annotated[Title, Field(description="AE title of the node.")]
    called_ae: Annotated[
        Title | None, Field(description="Our AE title that the node calls; by default that of the installation.")
    ] = None
    host: Host = ""
    port: Port = 0
    only_from_host: Annotated[
        bool | None,
        Field(
            description="Connect only from the address of its host. Without this field true, which needs a host; "
            "where each node must show a certificate, true if there is a host. False lets it connect from any address."
        ),
    ] = None
    tls: Annotated[bool, Field(description="Connect to the node by TLS.")] = False
    may_store: Annotated[bool, Field(description="The node may send objects into the project.")] = True
    may_query: Annotated[bool, Field(description="The node may query the project and retrieve from it.")] = False
    may_read_worklist: Annotated[
        bool,
        Field(description="The node gets scheduled studies with the patients' identities, and reports what it does."),
    ] = False


class DicomNodeChange(Schema):
    """Changes of a DICOM node; omitted fields stay."""

    ae_title: Title | None = None
    called_ae: Title | None = None
    host: Host | None = None
    port: Port | None = None
    only_from_host: bool | None = None
    tls: bool | None = None
    may_store: bool | None = None
    may_query: bool | None = None
    may_read_worklist: bool | None = None


class EchoOut(Schema):
    """Whether a DICOM node answered C-ECHO."""

    answers: bool
    reason: Annotated[str | None, Field(description="The reason, and what to check.")]
    milliseconds: int


class ListenerOut(Schema):
    """How DICOM nodes connect to this installation."""

    ae_title: str
    host: str
    port: Annotated[int | None, Field(description="Omitted where `medhub serve` does not listen for nodes.")]
    tls: bool
