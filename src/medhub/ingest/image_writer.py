# SPDX-License-Identifier: Apache-2.0
"""Writing what was cleaned: image, blobs, manifest, and the arrival that says what became of the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base, serialize_writers
from medhub.foundation.events import publish
from medhub.ingest.arrival_log import arrival_row, note_duplicate
from medhub.ingest.context import Answer, ArrivalRefused, CleanedArrival, IngestContext
from medhub.ingest.events import ImageStored
from medhub.ingest.models import Arrival, Manifest, ManifestLines, Receipt
from medhub.ingest.quarantine import destroy_sealed
from medhub.ingest.reindexing import describe
from medhub.ingest.study_completion import schedule_completion
from medhub.records import isolated_calls, series_service, studies, vault
from medhub.records import service as records
from medhub.records.models import Identity, Image, Patient, PatientBlob, Series, Study
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.deid.attributes.method_attributes import ENGINE
from medhub.science.deid.identity_cache import cached_by_identity
from medhub.science.deid.manifest import ManifestLine
from medhub.science.deid.uids import keyed_uid
from medhub.science.imaging.dicom.search_attributes import whole_number


def _same_uid() -> ArrivalRefused:
    # Made anew each time: an error that is raised holds on to its frames, and so to the files in them.
    return ArrivalRefused(
        "Another image with the same identifier is already here, and its content differs. "
        "Nothing was replaced. Delete the old image first if this one is meant to take its place.",
        reason="conflicting",
    )


@dataclass(frozen=True)
class FinalPixels:
    """An image as it is written, with the digests under which its file and its thumbnail, if any, are kept."""

    prepared: CleanedImage
    blob: str
    thumbnail: str | None

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests of all that is kept of it."""
        return (self.blob, self.thumbnail) if self.thumbnail is not None else (self.blob,)


def _as_written(app: AppContext, ready: CleanedArrival) -> CleanedImage:
    """The image as it is written; raises ``ArrivalRefused`` where it cannot lie where a person wants it."""
    prepared, seen = ready.prepared, ready.seen
    if seen is not None:
        prepared = replace(
            prepared,
            dicom=seen.dicom,
            thumbnail=seen.thumbnail or prepared.thumbnail,
            transfer_syntax_uid=seen.transfer_syntax_uid,
        )
    return _placed(app, ready.receiving, prepared)


def store(app: AppContext, actor: Actor, ready: CleanedArrival) -> Answer:
    """Write a cleaned image with all that belongs to it; raises ``ArrivalRefused`` where it does not fit."""
    (answer,) = store_all(app, actor, [ready])
    if isinstance(answer, ArrivalRefused):
        raise answer
    return answer


def store_all(app: AppContext, actor: Actor, several: Sequence[CleanedArrival]) -> list[Answer | ArrivalRefused]:
    """Write cleaned images in one transaction; in their order, what became of each, or why it does not fit."""
    # Kept before the transaction, which only names them: writers do not wait for each other's disk.
    finals = _kept(app, [_as_written(app, ready) for ready in several])
    try:
        with app.database.writing() as session:
            batch = Batch(session, app, actor)
            batch.look_up(several, finals)
            answers = [batch.take(ready, final) for ready, final in zip(several, finals, strict=True)]
            batch.flush()
    except IntegrityError:
        if len(several) > 1:
            return [one for ready in several for one in store_all(app, actor, [ready])]
        # The same file came in twice at the same moment; the other was first.
        records.delete_unreferenced_blobs(app, finals[0].blobs)
        with app.database.writing() as session:
            known = session.get(Receipt, (several[0].receiving.project_id, several[0].received_hash))
            if known is None:
                return [_same_uid()]
            size = len(finals[0].prepared.dicom)
            return [note_duplicate(session, actor, several[0].receiving, known.image_id, size)]
    unused = [
        digest
        for answer, final in zip(answers, finals, strict=True)
        if isinstance(answer, ArrivalRefused) or answer.outcome != "accepted"
        for digest in final.blobs
    ]
    if unused:
        records.delete_unreferenced_blobs(app, unused)
    return answers


def _kept(app: AppContext, several: Sequence[CleanedImage]) -> list[FinalPixels]:
    """Keep files and thumbnails, all at once."""
    digests = iter(app.blobs.put_all([data for one in several for data in (one.dicom, one.thumbnail) if data]))
    return [FinalPixels(one, next(digests), next(digests) if one.thumbnail else None) for one in several]


class Batch:
    """Files that are written in one transaction; what several of them ask for is looked up once."""

    def __init__(self, session: Session, app: AppContext, actor: Actor) -> None:
        self._session, self._app, self._actor = session, app, actor
        self._patients: dict[str, Patient] = {}
        self._studies: dict[tuple[str, str], Study] = {}
        self._series: dict[tuple[str, str], Series] = {}
        self._numbers: dict[str, int] = {}
        self._signed: dict[str, bool] = {}
        self._receipts: dict[tuple[str, str], str] = {}
        self._images: dict[tuple[str, str], Image] = {}
        self._lines: set[str] = set()
        self._blobs: set[tuple[str, str]] = set()
        self._after: dict[type[Base], list[dict[str, Any]]] = {}  # rows that name an image, written once the images are

    def flush(self) -> None:
        """Write what was taken so far: images first, then what names them."""
        self._session.flush()
        for model, rows in self._after.items():
            self._session.execute(insert(model), rows)
        self._after.clear()

    def _later(self, model: type[Base], row: dict[str, Any]) -> None:
        self._after.setdefault(model, []).append(row)

    def look_up(self, several: Sequence[CleanedArrival], finals: Sequence[FinalPixels]) -> None:
        """Look up at once what is known of all files, with nobody else changing it until the end."""
        session = self._session
        prepared = [final.prepared for final in finals]
        # Always by the project too, as the indexes begin with it.
        projects = {ready.receiving.project_id for ready in several}
        patient_ids = sorted({ready.receiving.patient_id for ready in several})
        for patient_id in patient_ids:
            serialize_writers(session, f"patient {patient_id}")
        # Not while others destroy: the same bytes may just lose the last row that named them.
        serialize_writers(session, "blobs")
        for patient in session.scalars(select(Patient).where(Patient.id.in_(patient_ids))):
            self._patients[patient.id] = patient
        for receipt in session.scalars(
            select(Receipt).where(
                Receipt.project_id.in_(projects), Receipt.received_hash.in_([ready.received_hash for ready in several])
            )
        ):
            self._receipts[receipt.project_id, receipt.received_hash] = receipt.image_id
        for image in session.scalars(
            select(Image).where(
                Image.project_id.in_(projects), Image.sop_instance_uid.in_([one.sop_instance_uid for one in prepared])
            )
        ):
            self._images[image.project_id, image.sop_instance_uid] = image
        for study in session.scalars(
            select(Study).where(
                Study.project_id.in_(projects), Study.study_uid.in_({one.study_instance_uid for one in prepared})
            )
        ):
            self._studies[study.project_id, study.study_uid] = study
        for series in session.scalars(
            select(Series).where(Series.series_uid.in_({one.series_instance_uid for one in prepared}))
        ):
            self._series[series.study_id, series.series_uid] = series
        digests = [digest for final in finals for digest in final.blobs]
        for start in range(0, len(digests), 500):
            named = select(PatientBlob.digest, PatientBlob.patient_id)
            chosen = named.where(PatientBlob.digest.in_(digests[start : start + 500]))
            self._blobs |= {(digest, patient_id) for digest, patient_id in session.execute(chosen)}

    def take(self, ready: CleanedArrival, final: FinalPixels) -> Answer | ArrivalRefused:
        """Write one file, or say why it does not fit."""
        receiving, prepared = ready.receiving, final.prepared
        known = self._receipts.get((receiving.project_id, ready.received_hash))
        if known is not None:
            self.flush()
            return note_duplicate(self._session, self._actor, receiving, known, len(prepared.dicom))
        try:
            patient = self._patients.get(receiving.patient_id)
            if patient is None:
                raise ArrivalRefused(
                    "The patient was erased while the file came in. Nothing was stored.", reason="erased"
                )
            before = self._images.get((receiving.project_id, prepared.sop_instance_uid))
            if before is not None:
                taken = self._before(receiving, before, final)
                if taken is not None:
                    return taken
            study = self._study(receiving, patient, prepared)
        except ArrivalRefused as refusal:
            return refusal
        image = self._write(receiving, patient, study, final, before.number if before is not None else None)
        self._later(Manifest, _manifest(self._session, image, ready, prepared, self._lines))
        _keep_identity(self._session, self._app, receiving, prepared.identity)
        if ready.released is None:
            size = len(prepared.dicom)
            self._later(
                Arrival, arrival_row(self._session, self._actor, receiving, "accepted", size, image_id=image.id)
            )
        else:
            self.flush()
            arrival = self._session.get_one(Arrival, ready.released.id)
            _release(self._session, self._actor, arrival, image, ready.note)
        if receiving.route == "upload":
            publish(self._session, ImageStored(image_id=image.id))
        receipt = {"project_id": receiving.project_id, "received_hash": ready.received_hash, "image_id": image.id}
        self._later(Receipt, receipt)
        self._receipts[receiving.project_id, ready.received_hash] = image.id
        self._images[receiving.project_id, prepared.sop_instance_uid] = image
        return Answer("accepted", image_id=image.id)

    def _before(self, receiving: IngestContext, before: Image, final: FinalPixels) -> Answer | None:
        """What becomes of another file with the identifier of one that is here, by the project's rule."""
        if receiving.duplicates == "keep":
            raise _same_uid()
        self.flush()
        if receiving.duplicates == "changed" and before.blob == final.blob:
            return note_duplicate(self._session, self._actor, receiving, before.id, len(final.prepared.dicom))
        if before.patient_id != receiving.patient_id:
            raise _same_uid()
        if before.locked or before.verified:
            raise ArrivalRefused(
                "Somebody has judged the image that is here under this identifier; it is not replaced. "
                "Delete it first if this one is meant to take its place.",
                reason="signed" if before.locked else "conflicting",
            )
        studies.remove_images(self._session, self._actor, [before], "image.replace")
        self._session.flush()
        return None

    def _study(self, receiving: IngestContext, patient: Patient, prepared: CleanedImage) -> Study:
        study = self._studies.get((patient.project_id, prepared.study_instance_uid))
        if study is None:
            study = studies.new_study(
                self._session,
                patient,
                study_uid=prepared.study_instance_uid,
                pathway=receiving.pathway.name if receiving.pathway is not None else None,
            )
            self._studies[patient.project_id, prepared.study_instance_uid] = study
            self._signed[study.id] = False
        elif study.patient_id != patient.id:
            raise ArrivalRefused(
                "This study already belongs to another patient. Check for whom the file is; nothing was stored.",
                reason="conflicting",
            )
        if study.id not in self._signed:
            locked = select(Image.id).where(Image.study_id == study.id, Image.locked).limit(1)
            self._signed[study.id] = self._session.scalar(locked) is not None
        if self._signed[study.id]:
            raise ArrivalRefused(
                "The study that this file belongs to is signed and stays as it is. "
                "Ask the physician to open a correction; nothing was stored.",
                reason="signed",
            )
        if study.pathway is None and receiving.pathway is not None:
            study.pathway = receiving.pathway.name  # made by hand: it goes the way of what first comes into it
        return study

    def _write(
        self, receiving: IngestContext, patient: Patient, study: Study, final: FinalPixels, number: int | None
    ) -> Image:
        session, prepared = self._session, final.prepared
        series = self._series.get((study.id, prepared.series_instance_uid))
        if series is None:
            series = series_service.new_series(
                session, study, series_uid=prepared.series_instance_uid, modality=prepared.modality
            )
            self._series[study.id, prepared.series_instance_uid] = series
        describe(study, series, prepared.attributes)
        if receiving.route != "upload":
            schedule_completion(session, study, receiving.settle_s)
        if study.id not in self._numbers:
            self._numbers[study.id] = studies.next_number(session, study.id)
        if number is None:
            number = self._numbers[study.id]
            self._numbers[study.id] += 1
        image = Image(
            id=ids.new_id(),
            project_id=patient.project_id,
            patient_id=patient.id,
            study_id=study.id,
            series_id=series.id,
            number=number,
            sop_class_uid=prepared.sop_class_uid,
            sop_instance_uid=prepared.sop_instance_uid,
            transfer_syntax_uid=prepared.transfer_syntax_uid,
            modality=prepared.modality,
            kind=prepared.kind,
            shown_as=prepared.shown_as,
            instance_number=whole_number(prepared.attributes["image"].get("InstanceNumber")),
            attributes=dict(prepared.attributes["image"]),
            width=prepared.columns,
            height=prepared.rows,
            frames=prepared.frames,
            size_bytes=len(prepared.dicom),
            blob=final.blob,
            thumbnail=final.thumbnail,
            # What is on no pathway is archived alone: no classifier reads it.
            state="waiting" if study.pathway is not None and prepared.shown_as == "image" else "archived",
            created_at=clock.now(),
        )
        session.add(image)
        for digest, data in zip(final.blobs, (prepared.dicom, prepared.thumbnail), strict=False):
            if not self._app.blobs.has(digest):  # it may have been destroyed since
                self._app.blobs.put(data)
            if (digest, patient.id) not in self._blobs:
                self._later(PatientBlob, {"digest": digest, "patient_id": patient.id, "image_id": image.id})
                self._blobs.add((digest, patient.id))
        return image


def _placed(app: AppContext, receiving: IngestContext, prepared: CleanedImage) -> CleanedImage:
    """What was prepared, as an image of the place that a person has put it into, if one has."""
    place = receiving.place
    if place is None:
        return prepared
    series_uid = place.series_uid
    if series_uid is not None and place.modality != prepared.modality:
        raise ArrivalRefused(
            f"A series is of one modality: this one is {place.modality}, and the file is {prepared.modality}. "
            "Upload it into the study instead; nothing was stored.",
            reason="another-modality",
        )
    if prepared.study_instance_uid == place.study_uid and series_uid in {None, prepared.series_instance_uid}:
        return prepared
    if series_uid is None:
        # What lay together in its own study lies together here, in a series of no other study.
        key = app.keys.derive(f"uids {receiving.project_id}")
        series_uid = keyed_uid(key, "placed series", place.study_uid, prepared.series_instance_uid)
    return replace(
        prepared,
        dicom=isolated_calls.placed(app, prepared.dicom, place.study_uid, series_uid),
        study_instance_uid=place.study_uid,
        series_instance_uid=series_uid,
    )


def _release(session: Session, actor: Actor, arrival: Arrival, image: Image, note: str | None) -> None:
    """Turn a quarantined arrival into an accepted one; its sealed bytes go."""
    if arrival.outcome != "quarantined":
        raise ArrivalRefused("Somebody has resolved this file meanwhile. Nothing was stored.", reason="resolved")
    arrival.outcome, arrival.image_id, arrival.note = "accepted", image.id, note
    arrival.resolved_at, arrival.resolved_by = clock.now(), actor.name[:120]
    destroy_sealed(session, [arrival])
    actor.record(
        session,
        "arrival.release",
        "arrival",
        arrival.id,
        project_id=arrival.project_id,
        patient_id=arrival.patient_id,
        image_id=image.id,
    )


def _manifest(
    session: Session, image: Image, ready: CleanedArrival, prepared: CleanedImage, known: set[str]
) -> dict[str, Any]:
    digest = _digest_of_lines(prepared.manifest)
    if digest not in known and session.get(ManifestLines, digest) is None:
        serialize_writers(session, "manifest lines")
        if session.get(ManifestLines, digest) is None:
            session.add(ManifestLines(digest=digest, lines=_plain(prepared.manifest)))
            session.flush()
    known.add(digest)
    chosen, seen = ready.receiving.chosen, ready.seen
    return {
        "image_id": image.id,
        "profile": chosen.profile.name,
        "profile_version": chosen.profile.version,
        "profile_digest": chosen.digest,
        "engine": ENGINE,
        "lines": digest,
        "looked_through": "person" if ready.by_person else "program" if seen is not None else "no",
        "boxes": [list(box) for box in seen.boxes] if seen is not None else [],
        "kept": [list(box) for box in seen.kept] if seen is not None else [],
        "created_at": clock.now(),
    }


def _plain(manifest: Sequence[ManifestLine]) -> list[list[Any]]:
    return [list(vars(line).values()) for line in manifest]


@cached_by_identity
def _digest_of_lines(manifest: tuple[ManifestLine, ...]) -> str:
    return hashlib.sha256(json.dumps(_plain(manifest)).encode()).hexdigest()


def _keep_identity(session: Session, app: AppContext, receiving: IngestContext, said: Mapping[str, str]) -> None:
    """Add to the vault what the file says of the person and the vault does not, where the project may keep it."""
    if not receiving.chosen.keep_identity or not said:
        return
    known = vault.read_identity(app.keys, session.get(Identity, receiving.patient_id)) or {}
    more = {name: value for name, value in said.items() if name not in known}
    if more:
        patient = session.get_one(Patient, receiving.patient_id)
        vault.write_identity(session, app.keys, patient, {**known, **more})
