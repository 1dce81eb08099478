# SPDX-License-Identifier: Apache-2.0
"""Reading images with classifiers, and keeping what they said."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.audit.service import AuditAct, record
from medhub.classification import appointments
from medhub.classification.events import ImageClassified, ShadowWanted
from medhub.classification.models import Appointment, Prediction, ShadowPrediction
from medhub.classification.registry import get_classifier
from medhub.errors import NotFound
from medhub.foundation import clock, ids, pagination
from medhub.foundation.app_context import AppContext
from medhub.foundation.blobs import BlobStore
from medhub.foundation.database import serialize_writers
from medhub.foundation.events import publish
from medhub.records import patient_blobs, studies
from medhub.records.models import Image, Study
from medhub.records.pathway import Pathway, get_pathway
from medhub.science.inference.classifier import Classifier, ClassifierOutput
from medhub.science.inference.decision import Decision, decide, limit_of


class EvidenceNotFound(NotFound):
    """There is no evidence map of this image."""

    code = "evidence-not-found"


def classify_image(app: AppContext, image_id: str, pixels: NDArray[np.uint8]) -> None:
    """Read an image with the classifier of its pathway in its project; a repeated prediction is stored once."""
    with app.database.reading() as session:
        image = session.get(Image, image_id)
        if image is None:
            return
        study = session.get_one(Study, image.study_id)
        if study.pathway is None:
            return
        appointed = appointments.current(session, image.project_id, study.pathway, appointments.IN_USE)
        shadow = appointments.current(session, image.project_id, study.pathway, appointments.SHADOW)
    pathway = get_pathway(app.settings, study.pathway)
    classifier = _load(app, pathway, appointed)
    reading = classifier.classify(pixels)
    decision = decide(reading, _limit(classifier, pathway))
    evidence = _to_png(reading.evidence)
    with app.database.writing() as session:
        serialize_writers(session, f"patient {image.patient_id}")
        known = select(Prediction.id).where(Prediction.image_id == image_id, Prediction.digest == classifier.digest)
        if session.get(Image, image_id) is None or session.scalar(known) is not None:
            return
        session.add(
            Prediction(
                **_prediction_values(image_id, classifier, reading, decision, pathway),
                project_id=image.project_id,
                imaged_at=image.created_at,
                reason=decision.reason,
                evidence=patient_blobs.store_blob(
                    session, app, evidence, patient_id=image.patient_id, image_id=image_id
                ),
            )
        )
        _settle(session, image, "read", "prediction.make", digest=classifier.digest)
        if shadow is not None:
            publish(session, ShadowWanted(image_id=image_id))


def _load(app: AppContext, pathway: Pathway, appointed: Appointment | None) -> Classifier:
    if appointed is None:
        return get_classifier(app.settings, pathway.classifier)
    return get_classifier(app.settings, appointed.classifier, appointed.digest)


def _limit(classifier: Classifier, pathway: Pathway) -> float:
    return limit_of(classifier.card, pathway.threshold, learned=pathway.limit == "learned")


def _prediction_values(
    image_id: str, classifier: Classifier, reading: ClassifierOutput, decision: Decision, pathway: Pathway
) -> dict[str, Any]:
    return {
        "id": ids.new_id(),
        "image_id": image_id,
        "classifier": classifier.card.name,
        "version": str(classifier.card.version),
        "digest": classifier.digest,
        "label": decision.label,
        "uncertain": decision.uncertain,
        "likeliest": decision.likeliest,
        "confidence": decision.confidence,
        "threshold": _limit(classifier, pathway),
        "probabilities": reading.probabilities,
        "novelty": reading.novelty,
        "novel": reading.novel,
        "milliseconds": reading.milliseconds,
        "created_at": clock.now(),
    }


def wanted_in_shadow(app: AppContext, image_id: str) -> list[tuple[Appointment | None, Pathway]]:
    """Whose word on an image is missing to compare the classifier in the shadow with the one in use."""
    with app.database.reading() as session:
        image = session.get(Image, image_id)
        if image is None:
            return []
        study = session.get_one(Study, image.study_id)
        if study.pathway is None:
            return []
        shadow = appointments.current(session, image.project_id, study.pathway, appointments.SHADOW)
        if shadow is None:
            return []
        pathway = get_pathway(app.settings, study.pathway)
        in_use = appointments.current(session, image.project_id, study.pathway, appointments.IN_USE)
        digest = appointments.digest_in_use(session, app.settings, image.project_id, pathway)
        digests = set(session.scalars(select(Prediction.digest).where(Prediction.image_id == image_id))) | set(
            session.scalars(select(ShadowPrediction.digest).where(ShadowPrediction.image_id == image_id))
        )
    wanted: list[tuple[Appointment | None, Pathway]] = []
    if shadow.digest not in digests:
        wanted.append((shadow, pathway))
    if digest not in digests:
        wanted.append((in_use, pathway))
    return wanted


def classify_in_shadow(
    app: AppContext, image_id: str, pixels: NDArray[np.uint8], appointed: Appointment | None, pathway: Pathway
) -> None:
    """Read an image without showing what was said to anybody who reads it; said twice, it is kept once."""
    classifier = _load(app, pathway, appointed)
    reading = classifier.classify(pixels)
    decision = decide(reading, _limit(classifier, pathway))
    with app.database.writing() as session:
        image = session.get(Image, image_id)
        if image is None:
            return
        serialize_writers(session, f"patient {image.patient_id}")
        known = select(ShadowPrediction.id).where(
            ShadowPrediction.image_id == image_id, ShadowPrediction.digest == classifier.digest
        )
        if session.get(Image, image_id) is None or session.scalar(known) is not None:
            return
        session.add(ShadowPrediction(**_prediction_values(image_id, classifier, reading, decision, pathway)))
        record(
            session,
            AuditAct(
                "prediction.shadow",
                "image",
                image_id,
                project_id=image.project_id,
                patient_id=image.patient_id,
                detail={"digest": classifier.digest},
            ),
        )


def give_up(app: AppContext, image_id: str) -> None:
    """Note that no classifier could read an image; a person decides without one."""
    with app.database.writing() as session:
        image = session.get(Image, image_id)
        if image is not None and image.state == "waiting":
            _settle(session, image, "unreadable", "prediction.give-up")


def _settle(session: Session, image: Image, state: str, action: str, **detail: str) -> None:
    studies.mark_read(session, image.id, state)
    record(
        session,
        AuditAct(action, "image", image.id, project_id=image.project_id, patient_id=image.patient_id, detail=detail),
    )
    publish(session, ImageClassified(study_id=image.study_id))


def _to_png(evidence: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(np.round(evidence * 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def read_evidence(blobs: BlobStore, digest: str) -> NDArray[np.float32]:
    """An evidence map, h x w in 0..1."""
    with Picture.open(io.BytesIO(blobs.get(digest))) as picture:
        evidence: NDArray[np.float32] = np.asarray(picture, dtype=np.float32) / np.float32(255)
        return evidence


def evidence_of(
    session: Session, app: AppContext, actor: Actor, image_id: str
) -> tuple[Image, NDArray[np.float32], str]:
    """An image, the evidence map of its latest prediction, and that map's digest."""
    image = studies.get_image(session, actor, image_id)
    prediction = latest(session, [image_id]).get(image_id)
    if prediction is None or prediction.evidence is None:
        raise EvidenceNotFound("There is no evidence map of this image: no classifier has read it.")
    return image, read_evidence(app.blobs, prediction.evidence), prediction.evidence


def predictions_of(session: Session, image_id: str) -> list[Prediction]:
    """What classifiers said of an image, the latest first."""
    chosen = select(Prediction).where(Prediction.image_id == image_id)
    return list(session.scalars(chosen.order_by(Prediction.created_at.desc(), Prediction.id.desc())))


def latest(session: Session, image_ids: Collection[str]) -> dict[str, Prediction]:
    """The latest prediction of each image."""
    statement = select(Prediction).where(pagination.in_ids(session, Prediction.image_id, image_ids))
    predictions = session.scalars(statement.order_by(Prediction.created_at, Prediction.id))
    return {prediction.image_id: prediction for prediction in predictions}


def label_counts(session: Session, project_ids: Iterable[str]) -> list[tuple[str, int]]:
    """How many images got each label from classifiers, the most frequent first."""
    rows = session.execute(
        select(Prediction.label, func.count())
        .join(Image, Image.id == Prediction.image_id)
        .where(Image.project_id.in_(list(project_ids)))
        .group_by(Prediction.label)
        .order_by(func.count().desc(), Prediction.label)
    )
    return [(label, count) for label, count in rows]
