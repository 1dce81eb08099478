# SPDX-License-Identifier: Apache-2.0
"""What training holds of a patient, for the certificate of an erasure: data sets, and who learned from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medhub.training.models import DataSet, DataSetRow, TrainingRun


def count_held(session: Session, patient_id: str) -> dict[str, Any]:
    """The data sets that hold images of a patient, and the classifiers that were trained or measured on them.

    A classifier keeps what it learned; that it did is what a certificate can say, so that it can be retired.
    """
    counts = session.execute(
        select(DataSet.id, DataSet.name, DataSet.version, DataSetRow.part, func.count())
        .join(DataSetRow, DataSetRow.dataset_id == DataSet.id)
        .where(DataSetRow.patient_id == patient_id)
        .group_by(DataSet.id, DataSet.name, DataSet.version, DataSetRow.part)
        .order_by(DataSet.name, DataSet.version, DataSetRow.part)
    )
    datasets: list[dict[str, str | int]] = []
    learned: Counter[str] = Counter()
    for dataset_id, name, version, part, images in counts:
        datasets.append({"name": name, "version": version, "part": part, "images": images})
        learned[dataset_id] += images if part != "test" else 0
    runs = session.scalars(
        select(TrainingRun)
        .where(TrainingRun.dataset_id.in_(learned), TrainingRun.digest.is_not(None))
        .order_by(TrainingRun.created_at)
    )
    classifiers = [
        {
            "classifier": run.classifier or run.name,
            "digest": run.digest or "",
            "learned_from_images": learned[run.dataset_id],
        }
        for run in runs
    ]
    return {"data_sets": datasets, "classifiers": classifiers}
