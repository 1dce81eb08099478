# SPDX-License-Identifier: Apache-2.0
"""Pathways: files that say which way a case goes, who may act where, and what they must fill in.

A pathway lies here, below all that follows it: ``ingest`` asks who may upload, ``classification`` which classifier
reads and below which probability it is uncertain, ``review`` where each act leads.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medhub.accounts.permissions import Role
from medhub.errors import Invalid, NotFound
from medhub.foundation.settings import Settings

ActName = Literal["upload", "classify", "verdict", "sign", "correct"]

SHIPPED = Path(__file__).parent / "pathways"


class PathwayNotFound(NotFound):
    """There is no pathway of this name."""

    code = "pathway-not-found"


class PathwayInvalid(Invalid):
    """A pathway file cannot be followed."""

    code = "pathway-invalid"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageAct(_Part):
    """What may be done in a stage, by whom, on what condition, and where it leads."""

    act: ActName
    roles: tuple[Role, ...]
    note_when: tuple[Literal["uncertain", "disagreeing"], ...] = ()
    needs: tuple[Literal["verdicts"], ...] = ()
    leads_to: str | None = None


class Stage(_Part):
    """One stage of a pathway."""

    name: str
    title: str
    report: bool = False
    acts: tuple[StageAct, ...] = ()


class Pathway(_Part):
    """The way of a case, as its file says."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,59}$")
    title: str
    version: int = Field(ge=1)
    modality: Literal["GM", "XC"] = "XC"
    labels: tuple[str, ...] = Field(min_length=1)
    not_counted: tuple[str, ...] = ()
    classifier: str
    threshold: float = Field(default=0.75, gt=0, le=1)
    limit: Literal["fixed", "learned"] = "fixed"  # learned: the classifier's own, and the threshold where it has none
    stages: tuple[Stage, ...] = Field(min_length=2)
    digest: str

    @model_validator(mode="after")
    def _lead_somewhere(self) -> Pathway:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names) or len(set(self.labels)) != len(self.labels):
            raise ValueError("stages and labels must each have names of their own")
        for stage in self.stages:
            for act in stage.acts:
                if act.leads_to is not None and act.leads_to not in names:
                    raise ValueError(f"stage {stage.name}: {act.act} leads to {act.leads_to}, which is no stage")
        if not any(stage.report for stage in self.stages):
            raise ValueError("no stage issues a report")
        if not set(self.not_counted) <= set(self.labels):
            raise ValueError("not_counted names a label that is none")
        return self

    def stage(self, name: str) -> Stage:
        """The stage of a name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PathwayInvalid(f"The pathway {self.name} has no stage {name} any more. Restore its file.")

    def act(self, stage: str, act: ActName) -> StageAct | None:
        """What may be done in a stage, if it may be done there at all."""
        return next((a for a in self.stage(stage).acts if a.act == act), None)

    @property
    def first_stage(self) -> Stage:
        """Where a case begins."""
        return self.stages[0]


def parse(text: bytes, source: str) -> Pathway:
    """A pathway from the text of its file; what cannot be followed is said in words."""
    try:
        content = tomllib.loads(text.decode())
        return Pathway(**content, digest=hashlib.sha256(text).hexdigest())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise PathwayInvalid(f"{source}: {where}: {first['msg']}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise PathwayInvalid(f"{source} is not a TOML file of a pathway: {error}.") from error


@functools.lru_cache(maxsize=8)
def _load_all(folders: tuple[Path, ...]) -> dict[str, Pathway]:
    found: dict[str, Pathway] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            pathway = parse(path.read_bytes(), path.name)
            found[pathway.name] = pathway
    return found


def all_pathways(settings: Settings) -> dict[str, Pathway]:
    """Every pathway: those that ship, and the institution's own, which win where names are equal."""
    return _load_all((SHIPPED, settings.pathways) if settings.pathways is not None else (SHIPPED,))


def get_pathway(settings: Settings, name: str) -> Pathway:
    """The pathway of a name."""
    found = all_pathways(settings)
    if name not in found:
        raise PathwayNotFound(f"There is no pathway “{name}”. There are: {', '.join(sorted(found))}.", field="pathway")
    return found[name]
