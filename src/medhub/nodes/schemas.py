# SPDX-License-Identifier: Apache-2.0
"""What the JSON API sends and takes of DICOM nodes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from medhub.foundation.http import Id, Moment, Schema, Text
from medhub.nodes.models import DicomNode

Title = Annotated[Text, Field(min_length=1, max_length=16, description="An AE title.", examples=["CT_ROOM_2"])]
Host = Annotated[Text, Field(max_length=255, description="Name or address where it is reached; empty if nowhere.")]
Port = Annotated[int, Field(ge=0, le=65535, description="Port on which it is reached; 0 if it has no host.")]


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
    created_at: Moment
    created_by: str

    @classmethod
    def of(cls, peer: DicomNode) -> DicomNodeOut:
        """The node as it is sent."""
        return cls.model_validate(peer, extra="ignore")


class DicomNodeCreate(Schema):
    """A DICOM node that a project is to know."""

    project_id: Annotated[Id | None, Field(description="May be left out by who is in one project only.")] = None
    ae_title: Annotated[Title, Field(description="By which it calls.")]
    called_ae: Annotated[
        Title | None, Field(description="Title of ours by which it calls; this installation's own if left out.")
    ] = None
    host: Host = ""
    port: Port = 0
    only_from_host: Annotated[bool, Field(description="It may call from the address of its host alone.")] = False
    tls: Annotated[bool, Field(description="It is reached by TLS.")] = False
    may_store: Annotated[bool, Field(description="It may send objects into the project.")] = True
    may_query: Annotated[bool, Field(description="It may query the project and fetch from it.")] = False


class DicomNodeChange(Schema):
    """What is to change of a DICOM node; what is left out stays."""

    ae_title: Title | None = None
    called_ae: Title | None = None
    host: Host | None = None
    port: Port | None = None
    only_from_host: bool | None = None
    tls: bool | None = None
    may_store: bool | None = None
    may_query: bool | None = None


class EchoOut(Schema):
    """Whether a DICOM node answered C-ECHO."""

    answers: bool
    reason: Annotated[str | None, Field(description="Why not, and what to check.")]
    milliseconds: int


class ListenerOut(Schema):
    """By what DICOM nodes reach this installation."""

    ae_title: str
    host: str
    port: Annotated[int | None, Field(description="Left out where `medhub serve` does not listen for nodes.")]
    tls: bool
