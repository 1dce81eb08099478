# SPDX-License-Identifier: Apache-2.0
"""Pathways: files that define the stages of a case, the roles that may act in each stage, and the required inputs.

Pathways are in this package because several capabilities above it use them: ``ingest`` checks who may upload,
``classification`` reads the classifier and the threshold, ``review`` the transition of each act.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from medhub.accounts.permissions import Role
from medhub.errors import Invalid, NotFound
from medhub.foundation.settings import Settings

ActName = Literal["upload", "classify", "verdict", "sign", "correct"]

Modality = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")]

BUILTIN_FOLDER = Path(__file__).parent / "pathways"


class PathwayNotFound(NotFound):
    """There is no pathway with this name."""

    code = "pathway-not-found"


class PathwayInvalid(Invalid):
    """A pathway file is invalid."""

    code = "pathway-invalid"


class _PathwayModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageAct(_PathwayModel):
    """An act that is allowed in a stage: its roles, its conditions and its next stage."""

    act: ActName
    roles: tuple[Role, ...]
    note_when: tuple[Literal["uncertain", "disagreeing"], ...] = ()
    needs: tuple[Literal["verdicts"], ...] = ()
    leads_to: str | None = None


class Stage(_PathwayModel):
    """One stage of a pathway."""

    name: str
    title: str
    report: bool = False
    acts: tuple[StageAct, ...] = ()


class Pathway(_PathwayModel):
    """A pathway, as defined by its file."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,59}$")
    title: str
    version: int = Field(ge=1)
    modality: Literal["GM", "XC"] = "XC"
    modalities: tuple[Modality, ...] = ()  # accepted of DICOM files; all if empty
    default_for: tuple[Modality, ...] = ()
    labels: tuple[str, ...] = Field(min_length=1)
    not_counted: tuple[str, ...] = ()
    classifier: str
    threshold: float = Field(default=0.75, gt=0, le=1)
    limit: Literal["fixed", "learned"] = (
        "fixed"  # learned: the limit of the classifier, or the threshold if it has none
    )
    stages: tuple[Stage, ...] = Field(min_length=2)
    digest: str

    @model_validator(mode="after")
    def _check_transitions(self) -> Pathway:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names) or len(set(self.labels)) != len(self.labels):
            raise ValueError("names of stages and labels must be unique")
        for stage in self.stages:
            for act in stage.acts:
                if act.leads_to is not None and act.leads_to not in names:
                    raise ValueError(f"stage {stage.name}: {act.act} leads to {act.leads_to}, which is not a stage")
        if not any(stage.report for stage in self.stages):
            raise ValueError("no stage issues a report")
        if not set(self.not_counted) <= set(self.labels):
            raise ValueError("not_counted has an unknown label")
        if self.modalities and not {self.modality, *self.default_for} <= set(self.modalities):
            raise ValueError("modalities lacks one that modality or default_for names")
        return self

    def stage(self, name: str) -> Stage:
        """The stage with a name."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PathwayInvalid(f"The pathway {self.name} has no stage {name} any more. Restore its file.")

    def act(self, stage: str, act: ActName) -> StageAct | None:
        """The definition of an act in a stage, if the stage allows it."""
        return next((a for a in self.stage(stage).acts if a.act == act), None)

    def accepts(self, modality: str) -> bool:
        """Whether images of a modality can go along the pathway."""
        return not self.modalities or modality in self.modalities

    @property
    def first_stage(self) -> Stage:
        """The first stage of a case."""
        return self.stages[0]


def parse_pathway(text: bytes, source: str) -> Pathway:
    """Parse a pathway file; an error message says what is wrong."""
    try:
        content = tomllib.loads(text.decode())
        return Pathway(**content, digest=hashlib.sha256(text).hexdigest())
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"]) or "file"
        raise PathwayInvalid(f"{source}: {location}: {first['msg']}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError) as error:
        raise PathwayInvalid(f"{source} is not a TOML file of a pathway: {error}.") from error


@functools.lru_cache(maxsize=8)
def _load_all(folders: tuple[Path, ...]) -> dict[str, Pathway]:
    pathways: dict[str, Pathway] = {}
    for folder in folders:
        by_file = {path.name: parse_pathway(path.read_bytes(), path.name) for path in sorted(folder.glob("*.toml"))}
        _check_defaults(by_file)
        pathways |= {pathway.name: pathway for pathway in by_file.values()}
    return pathways


def _check_defaults(by_file: Mapping[str, Pathway]) -> None:
    """Refuse two pathways of a folder that are the default for the same modality."""
    names: dict[str, str] = {}
    for file, pathway in by_file.items():
        for modality in pathway.default_for:
            other = names.setdefault(modality, pathway.name)
            if other != pathway.name:
                raise PathwayInvalid(
                    f"{file}: default_for has {modality}, and so has the pathway {other}. Remove it from one."
                )


def all_pathways(settings: Settings) -> dict[str, Pathway]:
    """All pathways: the built-in ones, and those of the institution, which take precedence for equal names."""
    return _load_all((BUILTIN_FOLDER, settings.pathways) if settings.pathways is not None else (BUILTIN_FOLDER,))


def get_pathway(settings: Settings, name: str) -> Pathway:
    """The pathway with a name."""
    pathways = all_pathways(settings)
    if name not in pathways:
        raise PathwayNotFound(
            f"There is no pathway “{name}”. There are: {', '.join(sorted(pathways))}.", field="pathway"
        )
    return pathways[name]


def default_pathway(settings: Settings, modality: str) -> Pathway | None:
    """The pathway that images of a modality take by themselves, if any; those of the institution take precedence."""
    candidates = [pathway for pathway in all_pathways(settings).values() if modality in pathway.default_for]
    return candidates[-1] if candidates else None
