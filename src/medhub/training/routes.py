# SPDX-License-Identifier: Apache-2.0
"""All routers of the capability; each subject has a module of its own."""

from __future__ import annotations

from medhub.training.classifier_routes import classifiers
from medhub.training.dataset_routes import datasets
from medhub.training.promotion_routes import pathways, promotions
from medhub.training.run_routes import training

__all__ = ["classifiers", "datasets", "pathways", "promotions", "training"]
