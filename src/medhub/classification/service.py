# SPDX-License-Identifier: Apache-2.0
"""Reading images with classifiers, and keeping what they said."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.accounts.actor import Actor
from medhub.audit.service import Act, record
from medhub.classification.events import ImageClassified
from medhub.classification.models import Prediction
from medhub.classification.registry import get_classifier
from medhub.errors import NotFound
from medhub.foundation import clock, ids
from medhub.foundation.blobs import BlobStore
from medhub.foundation.database import in_turn
from medhub.foundation.events import announce
from medhub.foundation.installation import Installation
from medhub.records import service as records
from medhub.records import studies
from medhub.records.models import Image, Study
from medhub.records.pathway import get_pathway
from medhub.science.inference.decision import decide


class EvidenceNotFound(NotFound):
    """There is no evidence map of this image."""

    code = "evidence-not-found"


def classify_image(house: Installation, image_id: str, pixels: NDArray[np.uint8]) -> None:
    """Read an image with the classifier of its pathway and keep what was said; said twice, it is kept once."""
    with house.database.reading() as session:
        image = session.get(Image, image_id)
        if image is None:
            return
        study = session.get_one(Study, image.study_id)
    if study.pathway is None:
        return
    pathway = get_pathway(house.settings, study.pathway)
    classifier = get_classifier(house.settings, pathway.classifier)
    reading = classifier.classify(pixels)
    decision = decide(reading, pathway.threshold)
    evidence = _to_png(reading.evidence)
    with house.database.writing() as session:
        in_turn(session, f"patient {image.patient_id}")
        known = select(Prediction.id).where(Prediction.image_id == image_id, Prediction.digest == classifier.digest)
        if session.get(Image, image_id) is None or session.scalar(known) is not None:
            return
        session.add(
            Prediction(
                id=ids.new_id(),
                image_id=image_id,
                classifier=classifier.card.name,
                version=str(classifier.card.version),
                digest=classifier.digest,
                label=decision.label,
                uncertain=decision.uncertain,
                reason=decision.reason,
                likeliest=decision.likeliest,
                confidence=decision.confidence,
                threshold=pathway.threshold,
                probabilities=reading.probabilities,
                novelty=reading.novelty,
                novel=reading.novel,
                milliseconds=reading.milliseconds,
                evidence=records.keep_blob(session, house, evidence, patient_id=image.patient_id, image_id=image_id),
                created_at=clock.now(),
            )
        )
        _settle(session, image, "read", "prediction.make", digest=classifier.digest)


def give_up(house: Installation, image_id: str) -> None:
    """Note that no classifier could read an image; a person decides without one."""
    with house.database.writing() as session:
        image = session.get(Image, image_id)
        if image is not None and image.state == "waiting":
            _settle(session, image, "unreadable", "prediction.give-up")


def _settle(session: Session, image: Image, state: str, action: str, **detail: str) -> None:
    studies.mark_read(session, image.id, state)
    record(
        session,
        Act(action, "image", image.id, project_id=image.project_id, patient_id=image.patient_id, detail=detail),
    )
    announce(session, ImageClassified(study_id=image.study_id))


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
    session: Session, house: Installation, actor: Actor, image_id: str
) -> tuple[Image, NDArray[np.float32], str]:
    """An image, the evidence map of its latest prediction, and that map's digest."""
    image = studies.get_image(session, actor, image_id)
    prediction = latest(session, [image_id]).get(image_id)
    if prediction is None or prediction.evidence is None:
        raise EvidenceNotFound("There is no evidence map of this image: no classifier has read it.")
    return image, read_evidence(house.blobs, prediction.evidence), prediction.evidence


def predictions_of(session: Session, image_id: str) -> list[Prediction]:
    """What classifiers said of an image, the latest first."""
    chosen = select(Prediction).where(Prediction.image_id == image_id)
    return list(session.scalars(chosen.order_by(Prediction.created_at.desc(), Prediction.id.desc())))


def latest(session: Session, image_ids: Collection[str]) -> dict[str, Prediction]:
    """The latest prediction of each image."""
    chosen = select(Prediction).where(Prediction.image_id.in_(image_ids))
    found = session.scalars(chosen.order_by(Prediction.created_at, Prediction.id))
    return {prediction.image_id: prediction for prediction in found}


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
