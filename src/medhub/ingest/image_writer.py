# SPDX-License-Identifier: Apache-2.0
"""Store cleaned images in one transaction a batch: image, blobs, manifest, receipt and arrival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.foundation import clock, ids
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import Base, serialize_writers
from medhub.foundation.events import publish
from medhub.ingest.arrival_log import add_duplicate, build_arrival_row
from medhub.ingest.context import IngestContext, IngestSource
from medhub.ingest.events import ImageStored
from medhub.ingest.final_image import ImageBlobs, finish_image, write_blobs
from medhub.ingest.ingest_file import CleanedArrival, IngestResult, ReleaseDecision
from medhub.ingest.manifests import build_manifest_row
from medhub.ingest.models import Arrival, Manifest, Receipt
from medhub.ingest.quarantine import destroy_sealed
from medhub.ingest.refusals import ArrivalRefused
from medhub.ingest.reindexing import describe
from medhub.ingest.study_completion import schedule_completion
from medhub.records import identity_search, patient_blobs, series_service, studies, vault
from medhub.records.birth_dates import is_birth_date
from medhub.records.models import Identity, Image, Patient, PatientBlob, Series, Study
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.imaging.dicom.search_attributes import first_integer


def _uid_conflict() -> ArrivalRefused:
    # A new object each time: a raised exception references its frames, and so the files in them.
    return ArrivalRefused(
        "Another image with the same identifier is already here, and its content differs. "
        "Nothing was replaced. Delete the old image first if this one is meant to take its place.",
        reason="conflicting",
    )


def store_images(
    app: AppContext, actor: Actor, source: IngestSource, arrivals: Sequence[CleanedArrival]
) -> list[IngestResult | ArrivalRefused]:
    """Store cleaned images in one transaction; the list has, in their order, each result or reason for refusal."""
    finals = [finish_image(app, arrival) for arrival in arrivals]
    storable = [
        (arrival, final)
        for arrival, final in zip(arrivals, finals, strict=True)
        if not isinstance(final, ArrivalRefused)
    ]
    stored = iter(_write_batch(app, actor, source, storable))
    return [final if isinstance(final, ArrivalRefused) else next(stored) for final in finals]


def _write_batch(
    app: AppContext, actor: Actor, source: IngestSource, storable: Sequence[tuple[CleanedArrival, CleanedImage]]
) -> list[IngestResult | ArrivalRefused]:
    if not storable:
        return []
    # Before the transaction, which only references the blobs: writers do not wait for each other's disk.
    blobs = write_blobs(app, [image for _, image in storable])
    arrivals = [arrival for arrival, _ in storable]
    try:
        with app.database.writing() as session:
            batch = ImageBatch(session, app, actor, source)
            batch.load_existing(arrivals, blobs)
            answers = [batch.add(arrival, final) for arrival, final in zip(arrivals, blobs, strict=True)]
            batch.flush()
    except IntegrityError:
        if len(storable) > 1:
            return [answer for pair in storable for answer in _write_batch(app, actor, source, [pair])]
        # The same file was received twice at the same moment; the other one was first.
        patient_blobs.delete_unreferenced_blobs(app, blobs[0].digests)
        with app.database.writing() as session:
            context = arrivals[0].context
            receipt = session.get(Receipt, (context.project_id, arrivals[0].received_hash))
            if receipt is None:
                return [_uid_conflict()]
            size = len(blobs[0].image.dicom)
            return [add_duplicate(session, actor, source, context, receipt.image_id, size, arrivals[0].instance_hash)]
    unused = [
        digest
        for answer, final in zip(answers, blobs, strict=True)
        if isinstance(answer, ArrivalRefused) or answer.outcome != "accepted"
        for digest in final.digests
    ]
    if unused:
        patient_blobs.delete_unreferenced_blobs(app, unused)
    return answers


class ImageBatch:
    """Images stored in one transaction; rows that several of them need are read once."""

    def __init__(self, session: Session, app: AppContext, actor: Actor, source: IngestSource) -> None:
        self._session, self._app, self._actor, self._source = session, app, actor, source
        self._patients: dict[str, Patient] = {}
        self._studies: dict[tuple[str, str], Study] = {}
        self._series: dict[tuple[str, str], Series] = {}
        self._next_numbers: dict[str, int] = {}
        self._signed: dict[str, bool] = {}
        self._receipts: dict[tuple[str, str], str] = {}
        self._images: dict[tuple[str, str], Image] = {}
        self._manifest_digests: set[str] = set()
        self._blobs: set[tuple[str, str]] = set()
        self._dependent_rows: dict[type[Base], list[dict[str, Any]]] = {}  # they reference images; inserted after them

    def flush(self) -> None:
        """Write the images so far, then the rows that reference them."""
        self._session.flush()
        for model, rows in self._dependent_rows.items():
            self._session.execute(insert(model), rows)
        self._dependent_rows.clear()

    def _add_row(self, model: type[Base], row: dict[str, Any]) -> None:
        self._dependent_rows.setdefault(model, []).append(row)

    def load_existing(self, arrivals: Sequence[CleanedArrival], finals: Sequence[ImageBlobs]) -> None:
        """Read all rows that the files relate to, and lock their patients until the end of the transaction."""
        session = self._session
        images = [final.image for final in finals]
        # Always by the project too, as the indexes start with it.
        projects = {arrival.context.project_id for arrival in arrivals}
        patient_ids = sorted({arrival.context.patient_id for arrival in arrivals})
        for patient_id in patient_ids:
            serialize_writers(session, f"patient {patient_id}")
        # Not while others destroy blobs: the same bytes may just lose the last row that references them.
        serialize_writers(session, "blobs")
        for patient in session.scalars(select(Patient).where(Patient.id.in_(patient_ids))):
            self._patients[patient.id] = patient
        for receipt in session.scalars(
            select(Receipt).where(
                Receipt.project_id.in_(projects),
                Receipt.received_hash.in_([arrival.received_hash for arrival in arrivals]),
            )
        ):
            self._receipts[receipt.project_id, receipt.received_hash] = receipt.image_id
        for image in session.scalars(
            select(Image).where(
                Image.project_id.in_(projects),
                Image.sop_instance_uid.in_([cleaned.sop_instance_uid for cleaned in images]),
            )
        ):
            self._images[image.project_id, image.sop_instance_uid] = image
        for study in session.scalars(
            select(Study).where(
                Study.project_id.in_(projects),
                Study.study_uid.in_({cleaned.study_instance_uid for cleaned in images}),
            )
        ):
            self._studies[study.project_id, study.study_uid] = study
        for series in session.scalars(
            select(Series).where(Series.series_uid.in_({cleaned.series_instance_uid for cleaned in images}))
        ):
            self._series[series.study_id, series.series_uid] = series
        digests = [digest for final in finals for digest in final.digests]
        for start in range(0, len(digests), 500):
            query = select(PatientBlob.digest, PatientBlob.patient_id)
            pairs = session.execute(query.where(PatientBlob.digest.in_(digests[start : start + 500])))
            self._blobs |= {(digest, patient_id) for digest, patient_id in pairs}

    def add(self, arrival: CleanedArrival, final: ImageBlobs) -> IngestResult | ArrivalRefused:
        """Store one image, or return why it conflicts with stored ones."""
        context, cleaned = arrival.context, final.image
        known_id = self._receipts.get((context.project_id, arrival.received_hash))
        if known_id is not None:
            return self._add_duplicate(arrival, known_id)
        try:
            patient = self._patients.get(context.patient_id)
            if patient is None:
                raise ArrivalRefused(
                    "The patient was erased while the file came in. Nothing was stored.", reason="erased"
                )
            previous = self._images.get((context.project_id, cleaned.sop_instance_uid))
            if previous is not None:
                duplicate = self._replace_previous(arrival, previous, final)
                if duplicate is not None:
                    return duplicate
            study = self._find_study(context, patient, cleaned)
        except ArrivalRefused as refusal:
            return refusal
        image = self._add_image(context, patient, study, final, previous.number if previous is not None else None)
        manifest = build_manifest_row(self._session, image, arrival, cleaned, self._manifest_digests)
        self._add_row(Manifest, manifest)
        _add_identity(self._session, self._app, context, cleaned.identity)
        if arrival.release is None:
            row = build_arrival_row(
                self._session,
                self._actor,
                self._source,
                context,
                "accepted",
                len(cleaned.dicom),
                image_id=image.id,
                instance_hash=arrival.instance_hash,
            )
            self._add_row(Arrival, row)
        else:
            self.flush()
            _release_arrival(self._session, self._actor, arrival.release, image)
        if self._source.route == "upload":
            publish(self._session, ImageStored(image_id=image.id))
        receipt = {"project_id": context.project_id, "received_hash": arrival.received_hash, "image_id": image.id}
        self._add_row(Receipt, receipt)
        self._receipts[context.project_id, arrival.received_hash] = image.id
        self._images[context.project_id, cleaned.sop_instance_uid] = image
        return IngestResult("accepted", image_id=image.id)

    def _add_duplicate(self, arrival: CleanedArrival, image_id: str) -> IngestResult:
        self.flush()
        size = len(arrival.image.dicom)
        context, instance_hash = arrival.context, arrival.instance_hash
        return add_duplicate(self._session, self._actor, self._source, context, image_id, size, instance_hash)

    def _replace_previous(self, arrival: CleanedArrival, previous: Image, final: ImageBlobs) -> IngestResult | None:
        """Apply the project's rule for another file with the SOP Instance UID of a stored image."""
        context = arrival.context
        if context.duplicates == "keep":
            raise _uid_conflict()
        if context.duplicates == "changed" and previous.blob == final.file:
            return self._add_duplicate(arrival, previous.id)
        self.flush()
        if previous.patient_id != context.patient_id:
            raise _uid_conflict()
        if previous.locked or previous.verified:
            raise ArrivalRefused(
                "Somebody has judged the image that is here under this identifier; it is not replaced. "
                "Delete it first if this one is meant to take its place.",
                reason="signed" if previous.locked else "conflicting",
            )
        studies.remove_images(self._session, self._actor, [previous], "image.replace")
        self._session.flush()
        return None

    def _find_study(self, context: IngestContext, patient: Patient, cleaned: CleanedImage) -> Study:
        """Find or create the study of an image; raises ``ArrivalRefused`` where it cannot join the study."""
        pathway = context.pathway.name if context.pathway is not None else None
        study = self._studies.get((patient.project_id, cleaned.study_instance_uid))
        if study is None:
            study = studies.new_study(self._session, patient, study_uid=cleaned.study_instance_uid, pathway=pathway)
            self._studies[patient.project_id, cleaned.study_instance_uid] = study
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
        if study.pathway is None:
            study.pathway = pathway  # created by a user: the first image decides the pathway
        return study

    def _find_series(self, context: IngestContext, study: Study, cleaned: CleanedImage) -> Series:
        series = self._series.get((study.id, cleaned.series_instance_uid))
        if series is None:
            series = series_service.new_series(
                self._session, study, series_uid=cleaned.series_instance_uid, modality=cleaned.modality
            )
            self._series[study.id, cleaned.series_instance_uid] = series
        describe(study, series, cleaned.attributes)
        if self._source.route != "upload":
            schedule_completion(self._session, study, context.settle_s)
        return series

    def _take_number(self, study: Study) -> int:
        if study.id not in self._next_numbers:
            self._next_numbers[study.id] = studies.next_number(self._session, study.id)
        number = self._next_numbers[study.id]
        self._next_numbers[study.id] += 1
        return number

    def _add_image(
        self, context: IngestContext, patient: Patient, study: Study, final: ImageBlobs, number: int | None
    ) -> Image:
        cleaned = final.image
        image = Image(
            id=ids.new_id(),
            project_id=patient.project_id,
            patient_id=patient.id,
            study_id=study.id,
            series_id=self._find_series(context, study, cleaned).id,
            number=self._take_number(study) if number is None else number,
            sop_class_uid=cleaned.sop_class_uid,
            sop_instance_uid=cleaned.sop_instance_uid,
            transfer_syntax_uid=cleaned.transfer_syntax_uid,
            modality=cleaned.modality,
            kind=cleaned.kind,
            shown_as=cleaned.shown_as,
            instance_number=first_integer(cleaned.attributes["image"].get("InstanceNumber")),
            attributes=dict(cleaned.attributes["image"]),
            width=cleaned.columns,
            height=cleaned.rows,
            frames=cleaned.frames,
            size_bytes=len(cleaned.dicom),
            blob=final.file,
            thumbnail=final.thumbnail,
            # Images without a pathway are only archived: no classifier reads them.
            state="waiting" if _goes_along(study.pathway, context) and cleaned.shown_as == "image" else "archived",
            created_at=clock.now(),
        )
        self._session.add(image)
        for digest, data in zip(final.digests, (cleaned.dicom, cleaned.thumbnail), strict=False):
            if not self._app.blobs.has(digest):  # it may have been destroyed since
                self._app.blobs.put(data)
            if (digest, patient.id) not in self._blobs:
                self._add_row(PatientBlob, {"digest": digest, "patient_id": patient.id, "image_id": image.id})
                self._blobs.add((digest, patient.id))
        return image


def _release_arrival(session: Session, actor: Actor, release: ReleaseDecision, image: Image) -> None:
    """Turn a quarantined arrival into an accepted one, and destroy its sealed bytes."""
    arrival = session.get_one(Arrival, release.arrival_id)
    if arrival.outcome != "quarantined":
        raise ArrivalRefused("Somebody has resolved this file meanwhile. Nothing was stored.", reason="resolved")
    arrival.outcome, arrival.image_id, arrival.note = "accepted", image.id, release.note
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


def _add_identity(session: Session, app: AppContext, context: IngestContext, identity: Mapping[str, str]) -> None:
    """Add the identity in the file to the vault, as far as it is new there and the project stores identities."""
    if not context.profile.keep_identity or not identity:
        return
    known = vault.read_identity(app.keys, session.get(Identity, context.patient_id)) or {}
    added = {
        name: value
        for name, value in identity.items()
        if name not in known and (name != "birth_date" or is_birth_date(value))
    }
    if added:
        patient = session.get_one(Patient, context.patient_id)
        identity_search.store_identity(session, app.keys, patient, {**known, **added})


def _goes_along(study_pathway: str | None, context: IngestContext) -> bool:
    """Whether an image goes along the pathway of its study; another modality in the same study may not."""
    return context.pathway is not None and context.pathway.name == study_pathway
