# SPDX-License-Identifier: Apache-2.0
"""Which pathway a received file goes along, by its modality."""

from __future__ import annotations

from medhub.foundation.settings import Settings
from medhub.ingest.models import IngestSettings
from medhub.records.pathway import Pathway, default_pathway, get_pathway


def route(settings: Settings, rules: IngestSettings, modality: str, named: str | None) -> Pathway | None:
    """The pathway of a file; None if it is only archived.

    The pathway that the sender named counts if it accepts the modality. Otherwise the rules of the project decide, and
    without rules the pathway that is the default for the modality.
    """
    pathway = get_pathway(settings, named) if named else None
    if pathway is not None and (not modality or pathway.accepts(modality)):
        return pathway
    if rules.pathways:
        name = rules.pathways.get(modality) or rules.pathways.get("*")
        return get_pathway(settings, name) if name else None
    return default_pathway(settings, modality)
