# SPDX-License-Identifier: Apache-2.0
"""Moves of images between the series and studies of one patient.

Exports and viewers get the stored file, so it must agree with the database: the DICOM file of a moved image is
rewritten with the UIDs of its new study and series, before the transaction that refers to it. The image keeps its id
and SOP Instance UID, and so all related data: predictions, manifest, receipt, labels of data sets.

The capabilities above this one may forbid that a study changes: each registers a move check, a function that raises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.errors import Conflict, Invalid
from medhub.foundation.app_context import AppContext
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.records import isolated_calls, series_service, studies
from medhub.records.deletion import delete_series_metadata
from medhub.records.events import ImageJoinedPathway, ImagesMoved
from medhub.records.models import Image, Patient, PatientBlob, Series, Study
from medhub.records.patient_blobs import delete_unreferenced_blobs, enqueue_blob_deletion, register_blob

MoveCheck = Callable[[Session, Collection[str]], None]
"""Raises if images may not be moved into or out of the studies with these ids."""

MAX_SERIES_IMAGES = 2_000


class PatientsDiffer(Conflict):
    """Images of one patient cannot be moved to another."""

    code = "another-patient"
    title = "This would give one person's images to another"


class IncompatibleImages(Conflict):
    """The images do not fit the series or study that they would be moved to."""

    code = "another-kind"


class ConcurrentChange(Conflict):
    """Somebody changed the images while their files were rewritten."""

    code = "changed-meanwhile"


@dataclass(frozen=True)
class MoveResult:
    """The number of moved images, and their new study and series."""

    images: int
    patient_id: str
    study_id: str
    series_id: str


@dataclass(frozen=True)
class _MovePlan:
    """The images to move, and the study and series to move them to."""

    images: list[Image]
    study: Study
    series: Series


def move_images(app: AppContext, actor: Actor, image_ids: Sequence[str], to_series_id: str) -> MoveResult:
    """Move images to a series of the same patient: all of them, or none if one of them cannot be moved."""
    with app.database.reading() as session:
        plan = _plan_image_move(session, actor, image_ids, to_series_id)
    rewritten = _rewrite_files(app, plan)
    try:
        with app.database.writing() as session:
            serialize_writers(session, f"patient {plan.study.patient_id}")
            plan = _plan_image_move(session, actor, image_ids, to_series_id)
            for image in plan.images:
                studies.record_image(
                    session,
                    actor,
                    "image.move",
                    image,
                    from_series=image.series_id,
                    from_study=image.study_id,
                    to_series=plan.series.id,
                    to_study=plan.study.id,
                )
            _move_images(session, app, plan, rewritten)
    except BaseException:
        _delete_files(app, rewritten)
        raise
    return MoveResult(len(plan.images), plan.study.patient_id, plan.study.id, plan.series.id)


def move_series(app: AppContext, actor: Actor, series_id: str, to_study_id: str) -> MoveResult:
    """Move a series with its images to another study of the same patient; it keeps its Series Instance UID."""
    with app.database.reading() as session:
        plan = _plan_series_move(session, actor, series_id, to_study_id)
    rewritten = _rewrite_files(app, plan)
    try:
        with app.database.writing() as session:
            serialize_writers(session, f"patient {plan.study.patient_id}")
            plan = _plan_series_move(session, actor, series_id, to_study_id)
            actor.record(
                session,
                "series.move",
                "study",
                plan.study.id,
                project_id=plan.study.project_id,
                patient_id=plan.study.patient_id,
                series_id=series_id,
                images=len(plan.images),
            )
            _move_series(session, app, plan, series_id, rewritten)
    except BaseException:
        _delete_files(app, rewritten)
        raise
    return MoveResult(len(plan.images), plan.study.patient_id, plan.study.id, plan.series.id)


# Decisions, made before the files are rewritten and again in the transaction that changes the rows.


def _plan_image_move(session: Session, actor: Actor, image_ids: Sequence[str], to_series_id: str) -> _MovePlan:
    target = series_service.get_series(session, actor, to_series_id, "image.move")
    requested = [studies.get_image(session, actor, image_id, "image.move") for image_id in dict.fromkeys(image_ids)]
    images = [image for image in requested if image.series_id != target.series.id]
    if not images:
        raise Invalid("All of these images are in this series already.", field="to_series_id")
    _check_move(session, images, target.study)
    if other_modalities := sorted({image.modality for image in images} - {target.series.modality}):
        raise IncompatibleImages(
            f"A series is of one modality, and this one is {target.series.modality}; among the images are "
            f"{', '.join(other_modalities)}. Make another series for them. Nothing was moved."
        )
    return _MovePlan(images, target.study, target.series)


def _plan_series_move(session: Session, actor: Actor, series_id: str, to_study_id: str) -> _MovePlan:
    moved = series_service.get_series(session, actor, series_id, "image.move")
    study = studies.get_study(session, actor, to_study_id, "image.move")
    if study.id == moved.study.id:
        raise Invalid("This series is in this study already.", field="to_study_id")
    if moved.study.patient_id != study.patient_id:
        raise _another_patient(session, moved.study.patient_id, study.patient_id)
    if moved.contents.images > MAX_SERIES_IMAGES:
        raise Conflict(
            f"This series has {moved.contents.images} images; at most {MAX_SERIES_IMAGES} are moved at once. "
            "Make a series in the other study and move the images in parts. Nothing was moved."
        )
    images = list(session.scalars(select(Image).where(Image.series_id == series_id).order_by(Image.number, Image.id)))
    _check_move(session, images, study, {moved.study.id})
    # The series may have been received again since a part of it was moved: then both parts are joined.
    same = select(Series).where(Series.study_id == study.id, Series.series_uid == moved.series.series_uid)
    return _MovePlan(images, study, session.scalars(same).one_or_none() or moved.series)


def _check_move(session: Session, images: Sequence[Image], target: Study, from_study_ids: Collection[str] = ()) -> None:
    for image in images:
        if image.patient_id != target.patient_id:
            raise _another_patient(session, image.patient_id, target.patient_id)
    if locked := sum(image.locked for image in images):
        those = "One of these images belongs" if locked == 1 else f"{locked} of these images belong"
        raise studies.ImageLocked(f"{those} to a signed case and cannot be moved. Nothing was moved.", locked=locked)
    if session.scalar(select(Image.id).where(Image.study_id == target.id, Image.locked).limit(1)) is not None:
        raise studies.ImageLocked("The target study is signed and cannot change. Nothing was moved.")
    study_ids = {image.study_id for image in images} | set(from_study_ids)
    other_studies = session.scalars(select(Study).where(Study.id.in_(study_ids - {target.id}))).all()
    pathways = {study.pathway for study in (*other_studies, target)} - {None}
    if len(pathways) > 1:
        raise IncompatibleImages(
            f"These studies follow different pathways ({', '.join(sorted(map(str, pathways)))}), and their images "
            "are classified by different classifiers. Upload the images again for the other one. Nothing was moved."
        )
    if other_studies:
        move_checks: tuple[MoveCheck, ...] = session.info.get("move_checks", ())
        for move_check in move_checks:
            move_check(session, study_ids | {target.id})


def _another_patient(session: Session, from_id: str, to_id: str) -> PatientsDiffer:
    codes = dict(session.execute(select(Patient.id, Patient.code).where(Patient.id.in_([from_id, to_id]))).all())
    return PatientsDiffer(
        f"This belongs to {codes[from_id]} and would be moved to {codes[to_id]}. Its identifiers and dates were made "
        f"for {codes[from_id]} when it was de-identified, so it cannot be reassigned. Upload the original files for "
        f"{codes[to_id]}, then delete these. Nothing was moved."
    )


# Changes.


@dataclass(frozen=True)
class _RewrittenFile:
    """A rewritten file: the digests before and after, and its size."""

    before: str
    after: str
    size_bytes: int


def _rewrite_files(app: AppContext, plan: _MovePlan) -> Mapping[str, _RewrittenFile]:
    """Rewrite the files of images with the UIDs of their new study and series."""
    rewritten: dict[str, _RewrittenFile] = {}
    try:
        for image in plan.images:
            data = app.blobs.get(image.blob)
            content = isolated_calls.move_to_series(app, data, plan.study.study_uid, plan.series.series_uid)
            rewritten[image.id] = _RewrittenFile(image.blob, app.blobs.put(content), len(content))
    except BaseException:
        _delete_files(app, rewritten)
        raise
    return rewritten


def _delete_files(app: AppContext, rewritten: Mapping[str, _RewrittenFile]) -> None:
    delete_unreferenced_blobs(app, [file.after for file in rewritten.values()])


def _move_images(session: Session, app: AppContext, plan: _MovePlan, rewritten: Mapping[str, _RewrittenFile]) -> None:
    """Change rows and blobs of the images, in their previous order."""
    left_studies = {image.study_id for image in plan.images} - {plan.study.id}
    left_series = {image.series_id for image in plan.images}
    sources = {study.id: study for study in session.scalars(select(Study).where(Study.id.in_(left_studies)))}
    if plan.study.pathway is None:  # an empty study takes the pathway of the first images that are moved into it
        plan.study.pathway = next((study.pathway for study in sources.values() if study.pathway), None)
    _merge_attributes(session, plan, sources)
    number = studies.next_number(session, plan.study.id)
    old_digests: list[str] = []
    for image in sorted(plan.images, key=lambda image: (image.study_id, image.number, image.id)):
        old_digests += _replace_file(session, app, image, rewritten.get(image.id))
        source = sources.get(image.study_id)
        if source is not None:
            image.number, number = number, number + 1
            if source.pathway is None and plan.study.pathway is not None and image.shown_as == "image":
                image.state = "waiting"
                publish(session, ImageJoinedPathway(image_id=image.id))
        image.study_id, image.series_id = plan.study.id, plan.series.id
    delete_series_metadata(
        session, session.scalars(select(Series).where(Series.id.in_({*left_series, plan.series.id})))
    )
    session.flush()
    _remove_empty(session, left_series)
    enqueue_blob_deletion(session, old_digests)
    for study_id in sorted(left_studies):
        publish(session, ImagesMoved(from_study_id=study_id, to_study_id=plan.study.id))


def _move_series(
    session: Session, app: AppContext, plan: _MovePlan, series_id: str, rewritten: Mapping[str, _RewrittenFile]
) -> None:
    moved = session.get_one(Series, series_id)
    from_study_id = moved.study_id
    if plan.images:
        _move_images(session, app, plan, rewritten)
    if plan.series.id == series_id:
        moved.study_id = plan.study.id
    elif not plan.images:
        session.delete(moved)
    session.flush()
    if not plan.images:
        publish(session, ImagesMoved(from_study_id=from_study_id, to_study_id=plan.study.id))


def _merge_attributes(session: Session, plan: _MovePlan, sources: Mapping[str, Study]) -> None:
    """Add missing searchable attributes to the target study and series, and drop cached metadata."""
    from_series = session.scalars(select(Series).where(Series.id.in_({image.series_id for image in plan.images}))).all()
    for series in (*from_series, plan.series):
        series.metadata_blob = None
        plan.series.attributes = {**series.attributes, **plan.series.attributes}
        plan.series.number = series.number if plan.series.number is None else plan.series.number
    for study in sources.values():
        plan.study.attributes = {**study.attributes, **plan.study.attributes}
        plan.study.study_date = plan.study.study_date or study.study_date
        plan.study.study_time = plan.study.study_time or study.study_time


def _replace_file(session: Session, app: AppContext, image: Image, new: _RewrittenFile | None) -> list[str]:
    """Refer to the new file instead of the old one; returns the digest of the old file for deletion."""
    if new is None or new.before != image.blob:
        raise ConcurrentChange("Somebody changed one of these images at the same time. Nothing was moved.")
    if not register_blob(session, app, new.after, patient_id=image.patient_id, image_id=image.id):
        raise ConcurrentChange("These images were moved back at the same time. Try again; nothing was moved.")
    image.blob, image.size_bytes = new.after, new.size_bytes
    row = session.get(PatientBlob, (new.before, image.patient_id))
    if new.before == new.after or row is None:
        return []
    session.delete(row)
    return [new.before]


def _remove_empty(session: Session, series_ids: Collection[str]) -> None:
    """Delete the series that have no images left."""
    for series_id in series_ids:
        remaining = session.scalar(select(func.count()).select_from(Image).where(Image.series_id == series_id))
        series = session.get(Series, series_id)
        if not remaining and series is not None:
            session.delete(series)
