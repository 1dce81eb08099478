# SPDX-License-Identifier: Apache-2.0
"""Schemas of arrivals, ingest settings and profiles in the JSON API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from medhub.foundation.http import Id, Moment, Schema, Text
from medhub.ingest.ingest_file import Outcome
from medhub.ingest.ingest_settings import LONGEST_SETTLE_S, MOST_ATTRIBUTES
from medhub.ingest.models import Arrival, IngestSettings, Manifest
from medhub.ingest.profile_preview import Preview
from medhub.ingest.profiles import MOST_TEXT, ProjectProfileChoice
from medhub.science.arrivals.burned_in_text import Region
from medhub.science.deid.profile import Profile
from medhub.science.imaging.dicom.object_kinds import ShownAs


class UploadItem(Schema):
    """The result of one file; its name is only sent back, never stored."""

    filename: str
    outcome: Literal["accepted", "duplicate", "quarantined"]
    reason: str | None
    image_id: str | None


class UploadAnswer(Schema):
    """The result of each file of an upload."""

    items: list[UploadItem]


class ArrivalOut(Schema):
    """A received file and its outcome."""

    id: str
    created_at: Moment
    outcome: Outcome
    code: str | None
    reason: str | None
    size_bytes: int
    patient_id: Annotated[str | None, Field(description="Left out while nobody has said whose the file is.")]
    patient_code: str | None
    image_id: str | None
    route: Annotated[str, Field(description="By which way it came: upload, folder, stow, dimse, watch, command.")]
    peer: Annotated[str | None, Field(description="The application entity that sent it.")]
    candidates: Annotated[list[str] | None, Field(description="Patients for whom it may be.")]
    by: str
    expires_at: Moment | None
    waiting: Annotated[bool, Field(description="Its bytes are here, and somebody may release or discard it.")]
    resolved_at: Moment | None
    resolved_by: str | None
    note: str | None

    @classmethod
    def of(cls, arrival: Arrival, patient_code: str | None) -> ArrivalOut:
        """The schema of an arrival."""
        return cls(
            id=arrival.id,
            created_at=arrival.created_at,
            outcome=arrival.outcome,
            code=arrival.code,
            reason=arrival.reason,
            size_bytes=arrival.size_bytes,
            patient_id=arrival.patient_id,
            patient_code=patient_code,
            image_id=arrival.image_id,
            route=arrival.route,
            peer=arrival.peer,
            candidates=arrival.candidates,
            by=arrival.by,
            expires_at=arrival.expires_at,
            waiting=arrival.outcome == "quarantined" and arrival.sealed_bytes is not None,
            resolved_at=arrival.resolved_at,
            resolved_by=arrival.resolved_by,
            note=arrival.note,
        )


Box = Annotated[
    list[int],
    Field(
        min_length=5,
        max_length=5,
        description="Frame (from 1), x0, y0, x1, y1 in pixels; the last two are not included.",
    ),
]


class ArrivalOpened(ArrivalOut):
    """A quarantined file as a person reviews it."""

    rows: Annotated[int, Field(description="Height in pixels; 0 where it cannot be shown.")]
    columns: int
    frames: int
    boxes: Annotated[list[Box], Field(description="Where writing was preview.")]
    shown_as: Annotated[ShownAs | None, Field(description="What it is; none where it cannot be read.")]
    texts: Annotated[list[str], Field(description="Of a document, the text of each page.")]


class Release(Schema):
    """The release of a quarantined file."""

    boxes: Annotated[
        list[Box] | None,
        Field(
            max_length=20_000,
            description="What is made black, and nothing else: a person has looked. Left out, the program looks again.",
        ),
    ] = None
    note: Annotated[Text, Field(max_length=2_000)] = ""

    def regions(self) -> list[Region] | None:
        """The boxes of a person, if given."""
        return None if self.boxes is None else [(n, x0, y0, x1, y1) for n, x0, y0, x1, y1 in self.boxes]


class Assign(Schema):
    """Whose a file is: a patient who is known, or one who is new."""

    patient_id: Id | None = None
    new_patient: bool = False
    note: Annotated[Text, Field(max_length=2_000)] = ""


class Candidate(Schema):
    """A patient to whom a file may belong."""

    patient_id: str
    code: str
    sex: str
    birth_year: int | None
    identity: Annotated[dict[str, str] | None, Field(description="From the vault, for users who may read it.")]


class PatientClaim(Schema):
    """The patient identifiers in a file without a patient, and the patients to whom it may belong."""

    name: str
    number: str
    birth_date: str
    sex: str
    modality: str
    candidates: list[Candidate]


class ArchiveChoice(Schema):
    """How a project takes in files that name their patient themselves."""

    duplicates: Annotated[
        Literal["keep", "replace", "changed"],
        Field(
            description="What becomes of another file with the identifier of one that is here: the old one stays and "
            "the new one waits for a person, the new one takes its place, or it does so only where it differs."
        ),
    ] = "keep"
    settle_s: Annotated[
        int, Field(ge=0, le=LONGEST_SETTLE_S, description="Seconds without a new file after which a study is complete.")
    ] = 60
    pathways: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=16)], Annotated[str, Field(max_length=60)]],
        Field(
            default_factory=dict,
            max_length=32,
            description="Modality to the pathway that its studies go; `*` for all others.",
        ),
    ]
    attributes: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(
            default_factory=list,
            max_length=MOST_ATTRIBUTES,
            description="Keywords of attributes that are searched beside the usual ones.",
        ),
    ]


class ArchiveOut(ArchiveChoice):
    """How a project takes in files, and how far what is here has been indexed."""

    index_state: Literal["running", "done"]
    index_done: int
    index_total: int
    changed_by: str
    changed_at: Moment

    @classmethod
    def of(cls, row: IngestSettings) -> ArchiveOut:
        """The settings as they are sent."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class ReleaseAnswer(Schema):
    """The result of a release or assignment."""

    outcome: Literal["accepted", "duplicate", "quarantined"]
    reason: str | None
    image_id: str | None


class Discard(Schema):
    """The reason for destroying a quarantined file."""

    note: Annotated[Text, Field(min_length=1, max_length=2_000)]


class ManifestLineOut(Schema):
    """What was done to one attribute, wherever in the items of its sequences it lay."""

    path: str
    name: str
    vr: str
    done: str
    rule: str
    count: int


class ManifestOut(Schema):
    """What was done to an image before it was written; never a value of what was received."""

    profile: str
    profile_version: int
    profile_digest: str
    engine: str
    looked_through: Annotated[
        Literal["program", "person", "no"], Field(description="Who looked for writing in its pixels.")
    ]
    boxes: Annotated[list[Box], Field(description="What was made black.")]
    kept: Annotated[list[Box], Field(description="Harmless writing that stays.")]
    lines: list[ManifestLineOut]
    created_at: Moment

    @classmethod
    def of(cls, manifest: Manifest, lines: list[Any]) -> ManifestOut:
        """The manifest as it is sent."""
        names = ("path", "name", "vr", "done", "rule", "count")
        return cls(
            profile=manifest.profile,
            profile_version=manifest.profile_version,
            profile_digest=manifest.profile_digest,
            engine=manifest.engine,
            looked_through=manifest.looked_through,
            boxes=manifest.boxes,
            kept=manifest.kept,
            lines=[ManifestLineOut(**dict(zip(names, line, strict=True))) for line in lines],
            created_at=manifest.created_at,
        )


class ProfileOut(Schema):
    """A profile: what is kept when images are de-identified."""

    name: str
    title: str
    version: int
    digest: str
    text: Annotated[str, Field(description="Its TOML file.")]
    options: list[str]
    keep_identity: Annotated[bool, Field(description="What files say of the person is added to the vault.")]
    by: str | None
    chosen_at: Moment | None

    @classmethod
    def of(cls, chosen: ProjectProfileChoice) -> ProfileOut:
        """The profile as it is sent."""
        return cls(
            name=chosen.profile.name,
            title=chosen.profile.title,
            version=chosen.profile.version,
            digest=chosen.digest,
            text=chosen.text,
            options=list(chosen.profile.options),
            keep_identity=chosen.keep_identity,
            by=chosen.row.by if chosen.row is not None else None,
            chosen_at=chosen.row.chosen_at if chosen.row is not None else None,
        )


class ShippedProfile(Schema):
    """A profile that ships."""

    name: str
    title: str
    text: str


class ChosenBefore(Schema):
    """A profile that a project once chose."""

    name: str
    version: int
    digest: str
    keep_identity: bool
    by: str
    chosen_at: Moment


class ProfilesOut(Schema):
    """By what a project de-identifies."""

    current: ProfileOut
    shipped: list[ShippedProfile]
    history: Annotated[list[ChosenBefore], Field(description="Newest first; the first one holds.")]


class ProfileChoice(Schema):
    """Another profile for a project: one that ships, or its own text."""

    name: Annotated[Text | None, Field(max_length=63)] = None
    text: Annotated[Text | None, Field(max_length=MOST_TEXT)] = None
    keep_identity: bool = False


class PreviewedFileOut(Schema):
    """The result that one file would have."""

    filename: str
    outcome: Literal["cleaned", "quarantined"]
    reason: str
    boxes: list[Box]


class PreviewedAction(Schema):
    """What would be done to one attribute, and in how many files."""

    attribute: str
    done: str
    rule: str
    files: int


class RemainingText(Schema):
    """A free text that would remain."""

    attribute: str
    value: str
    files: int


class PreviewOut(Schema):
    """What a profile would do to files; nothing of it was written."""

    profile: str
    version: int
    files: list[PreviewedFileOut]
    actions: list[PreviewedAction]
    remaining_text: list[RemainingText]

    @classmethod
    def of(cls, profile: Profile, preview: Preview) -> PreviewOut:
        """The preview as it is sent."""
        return cls(
            profile=profile.name,
            version=profile.version,
            files=[
                PreviewedFileOut.model_validate(vars(file) | {"boxes": [list(box) for box in file.boxes]})
                for file in preview.files
            ],
            actions=[
                PreviewedAction(attribute=attribute, done=done, rule=rule, files=count)
                for (attribute, done, rule), count in sorted(preview.actions.items())
            ],
            remaining_text=[
                RemainingText(attribute=attribute, value=value, files=count)
                for (attribute, value), count in preview.texts.most_common()
            ],
        )
