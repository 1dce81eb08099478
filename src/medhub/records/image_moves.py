# SPDX-License-Identifier: Apache-2.0
"""Moving images between the series and studies of one patient.

What is stored must say what the records say, since exports and viewers get the file: a moved image's DICOM file is
written anew with the UIDs of its new place, before the transaction that names it. The image keeps its id and SOP
Instance UID, and with them all that hangs on it: predictions, manifest, receipt, labels of data sets.

Whether a study may still change is not for records to know: the capabilities above give guards, functions that raise
where something there stands in the way.
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
from medhub.records import isolated_calls, studies
from medhub.records.deletion import forget_metadata
from medhub.records.events import ImagePlaced, ImagesMoved
from medhub.records.models import Image, Patient, PatientBlob, Series, Study
from medhub.records.service import destroy_blobs, destroy_unnamed_blobs, name_blob

MoveCheck = Callable[[Session, Collection[str]], None]
"""Raises where something forbids that images come into or leave some studies, which are named by their ids."""

MOST_OF_A_SERIES = 2_000


class AnotherPatient(Conflict):
    """Images of one patient cannot be moved to another."""

    code = "another-patient"
    title = "This would give one person's images to another"


class AnotherKind(Conflict):
    """The images do not fit what they are to lie among."""

    code = "another-kind"


class ChangedMeanwhile(Conflict):
    """Somebody changed the images while their files were written anew."""

    code = "changed-meanwhile"


@dataclass(frozen=True)
class Moved:
    """What was moved, and where it lies now."""

    images: int
    patient_id: str
    study_id: str
    series_id: str


@dataclass(frozen=True)
class _Plan:
    """Which images go where."""

    images: list[Image]
    study: Study
    series: Series


def move_images(app: AppContext, actor: Actor, image_ids: Sequence[str], to_series_id: str) -> Moved:
    """Put images into a series of the same patient: all of them or, where one cannot be moved, none."""
    with app.database.reading() as session:
        plan = _plan_images(session, actor, image_ids, to_series_id)
    written = _write_anew(app, plan)
    try:
        with app.database.writing() as session:
            serialize_writers(session, f"patient {plan.study.patient_id}")
            plan = _plan_images(session, actor, image_ids, to_series_id)
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
            _move(session, app, plan, written)
    except BaseException:
        _destroy(app, written)
        raise
    return Moved(len(plan.images), plan.study.patient_id, plan.study.id, plan.series.id)


def move_series(app: AppContext, actor: Actor, series_id: str, to_study_id: str) -> Moved:
    """Put a series with all its images into another study of the same patient; it keeps its Series Instance UID."""
    with app.database.reading() as session:
        plan = _plan_series(session, actor, series_id, to_study_id)
    written = _write_anew(app, plan)
    try:
        with app.database.writing() as session:
            serialize_writers(session, f"patient {plan.study.patient_id}")
            plan = _plan_series(session, actor, series_id, to_study_id)
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
            _move_series(session, app, plan, series_id, written)
    except BaseException:
        _destroy(app, written)
        raise
    return Moved(len(plan.images), plan.study.patient_id, plan.study.id, plan.series.id)


# What is decided, before and again in the transaction that changes.


def _plan_images(session: Session, actor: Actor, image_ids: Sequence[str], to_series_id: str) -> _Plan:
    to = studies.get_series(session, actor, to_series_id, "image.move")
    found = [studies.get_image(session, actor, one, "image.move") for one in dict.fromkeys(image_ids)]
    images = [image for image in found if image.series_id != to.series.id]
    if not images:
        raise Invalid("All of these images lie there already.", field="to_series_id")
    _check(session, images, to.study)
    if wrong := sorted({image.modality for image in images} - {to.series.modality}):
        raise AnotherKind(
            f"A series is of one modality, and this one is {to.series.modality}; among the images are "
            f"{', '.join(wrong)}. Make another series for them. Nothing was moved."
        )
    return _Plan(images, to.study, to.series)


def _plan_series(session: Session, actor: Actor, series_id: str, to_study_id: str) -> _Plan:
    moved = studies.get_series(session, actor, series_id, "image.move")
    study = studies.get_study(session, actor, to_study_id, "image.move")
    if study.id == moved.study.id:
        raise Invalid("This series lies there already.", field="to_study_id")
    if moved.study.patient_id != study.patient_id:
        raise _another_patient(session, moved.study.patient_id, study.patient_id)
    if moved.contents.images > MOST_OF_A_SERIES:
        raise Conflict(
            f"This series has {moved.contents.images} images; at most {MOST_OF_A_SERIES} are moved at once. "
            "Make a series in the other study and move the images in parts. Nothing was moved."
        )
    images = list(session.scalars(select(Image).where(Image.series_id == series_id).order_by(Image.number, Image.id)))
    _check(session, images, study, {moved.study.id})
    # The same series may have come in again since a part of it was moved: then it is whole once more.
    same = select(Series).where(Series.study_id == study.id, Series.series_uid == moved.series.series_uid)
    return _Plan(images, study, session.scalars(same).one_or_none() or moved.series)


def _check(session: Session, images: Sequence[Image], to: Study, left: Collection[str] = ()) -> None:
    for image in images:
        if image.patient_id != to.patient_id:
            raise _another_patient(session, image.patient_id, to.patient_id)
    if locked := sum(image.locked for image in images):
        those = "One of these images belongs" if locked == 1 else f"{locked} of these images belong"
        raise studies.ImageLocked(f"{those} to a signed case and cannot be moved. Nothing was moved.", locked=locked)
    if session.scalar(select(Image.id).where(Image.study_id == to.id, Image.locked).limit(1)) is not None:
        raise studies.ImageLocked("The study that this is to go to is signed and stays as it is. Nothing was moved.")
    touched = {image.study_id for image in images} | set(left)
    others = session.scalars(select(Study).where(Study.id.in_(touched - {to.id}))).all()
    pathways = {study.pathway for study in (*others, to)} - {None}
    if len(pathways) > 1:
        raise AnotherKind(
            f"These studies go different ways ({', '.join(sorted(str(one) for one in pathways))}), and their images "
            "are read by different classifiers. Upload the images once more for the other one. Nothing was moved."
        )
    if others:
        guards: tuple[MoveCheck, ...] = session.info.get("guards", ())
        for guard in guards:
            guard(session, touched | {to.id})


def _another_patient(session: Session, from_id: str, to_id: str) -> AnotherPatient:
    codes = dict(session.execute(select(Patient.id, Patient.code).where(Patient.id.in_([from_id, to_id]))).all())
    return AnotherPatient(
        f"This is of {codes[from_id]} and would go to {codes[to_id]}. Its identifiers and dates were made for "
        f"{codes[from_id]} when it was de-identified, so it cannot be handed on. Upload the original files for "
        f"{codes[to_id]}, then delete these. Nothing was moved."
    )


# What is changed.


@dataclass(frozen=True)
class _Written:
    """A file that was written anew: in place of which, and how large it is."""

    before: str
    after: str
    size_bytes: int


def _write_anew(app: AppContext, plan: _Plan) -> Mapping[str, _Written]:
    """Write the files of images under the UIDs of their new place."""
    written: dict[str, _Written] = {}
    try:
        for image in plan.images:
            data = app.blobs.get(image.blob)
            placed = isolated_calls.placed(app, data, plan.study.study_uid, plan.series.series_uid)
            written[image.id] = _Written(image.blob, app.blobs.put(placed), len(placed))
    except BaseException:
        _destroy(app, written)
        raise
    return written


def _destroy(app: AppContext, written: Mapping[str, _Written]) -> None:
    destroy_unnamed_blobs(app, [one.after for one in written.values()])


def _move(session: Session, app: AppContext, plan: _Plan, written: Mapping[str, _Written]) -> None:
    """Have rows and bytes say the new place, in the order in which the images lay before."""
    left_studies = {image.study_id for image in plan.images} - {plan.study.id}
    left_series = {image.series_id for image in plan.images}
    sources = {study.id: study for study in session.scalars(select(Study).where(Study.id.in_(left_studies)))}
    if plan.study.pathway is None:  # a study made by hand goes the way of the first images that come into it
        plan.study.pathway = next((study.pathway for study in sources.values() if study.pathway), None)
    _describe(session, plan, sources)
    number = studies.next_number(session, plan.study.id)
    old: list[str] = []
    for image in sorted(plan.images, key=lambda one: (one.study_id, one.number, one.id)):
        old += _change_file(session, app, image, written.get(image.id))
        source = sources.get(image.study_id)
        if source is not None:
            image.number, number = number, number + 1
            if source.pathway is None and plan.study.pathway is not None and image.shown_as == "image":
                image.state = "waiting"
                publish(session, ImagePlaced(image_id=image.id))
        image.study_id, image.series_id = plan.study.id, plan.series.id
    forget_metadata(session, session.scalars(select(Series).where(Series.id.in_({*left_series, plan.series.id}))))
    session.flush()
    _remove_empty(session, left_series)
    destroy_blobs(session, old)
    for study_id in sorted(left_studies):
        publish(session, ImagesMoved(from_study_id=study_id, to_study_id=plan.study.id))


def _move_series(
    session: Session, app: AppContext, plan: _Plan, series_id: str, written: Mapping[str, _Written]
) -> None:
    moved = session.get_one(Series, series_id)
    from_study_id = moved.study_id
    if plan.images:
        _move(session, app, plan, written)
    if plan.series.id == series_id:
        moved.study_id = plan.study.id
    elif not plan.images:
        session.delete(moved)
    session.flush()
    if not plan.images:
        publish(session, ImagesMoved(from_study_id=from_study_id, to_study_id=plan.study.id))


def _describe(session: Session, plan: _Plan, sources: Mapping[str, Study]) -> None:
    """Have the place be found by what its objects say, as far as it says nothing itself; what was cached is old."""
    left = session.scalars(select(Series).where(Series.id.in_({image.series_id for image in plan.images}))).all()
    for series in (*left, plan.series):
        series.metadata_blob = None
        plan.series.attributes = {**series.attributes, **plan.series.attributes}
        plan.series.number = series.number if plan.series.number is None else plan.series.number
    for study in sources.values():
        plan.study.attributes = {**study.attributes, **plan.study.attributes}
        plan.study.study_date = plan.study.study_date or study.study_date
        plan.study.study_time = plan.study.study_time or study.study_time


def _change_file(session: Session, app: AppContext, image: Image, new: _Written | None) -> list[str]:
    """Name the new file in place of the old one; the digest of the old one, which is to be destroyed."""
    if new is None or new.before != image.blob:
        raise ChangedMeanwhile("Somebody changed one of these images at the same moment. Nothing was moved.")
    if not name_blob(session, app, new.after, patient_id=image.patient_id, image_id=image.id):
        raise ChangedMeanwhile("These images were moved back at the same moment. Try again; nothing was moved.")
    image.blob, image.size_bytes = new.after, new.size_bytes
    row = session.get(PatientBlob, (new.before, image.patient_id))
    if new.before == new.after or row is None:
        return []
    session.delete(row)
    return [new.before]


def _remove_empty(session: Session, series_ids: Collection[str]) -> None:
    """Remove the series that have no image any more."""
    for series_id in series_ids:
        left = session.scalar(select(func.count()).select_from(Image).where(Image.series_id == series_id))
        series = session.get(Series, series_id)
        if not left and series is not None:
            session.delete(series)
