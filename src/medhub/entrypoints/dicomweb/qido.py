# SPDX-License-Identifier: Apache-2.0
"""QIDO-RS: searching studies, series and instances (PS3.18, 10.6)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import DICOM_XML, choose_json_or_xml
from medhub.entrypoints.dicomweb.included_attributes import add_stored_attributes
from medhub.entrypoints.dicomweb.multipart_response import PartsResponse, ResponsePart
from medhub.entrypoints.dicomweb.native_xml import native_model
from medhub.entrypoints.dicomweb.project_paths import PREFIX, Uid, projects_of, root_of
from medhub.ingest.models import IngestSettings
from medhub.records.dicom_search import search
from medhub.records.query_matching import UnusableKey
from medhub.records.search_levels import Level
from medhub.records.search_results import Match

searching = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

UTF_8 = "ISO_IR 192"
# Of one answer: more are had by limit and offset. Within one study more, since nobody wants half of it.
MOST_MATCHES = 250
MOST_WITHIN = 5_000
MOST_OFFSET = 10**9
_MOST_PARAMETERS = 200
_MOST_NAMED = 10
_PRINTABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Values of these representations have no comma, so that a comma always separates values (PS3.5, 6.2).
_WITHOUT_COMMA = frozenset(
    (
        *("UI", "CS", "DA", "TM", "DT", "AS", "IS", "DS", "AT"),
        *("US", "UL", "UV", "SS", "SL", "SV", "FL", "FD"),
    )
)
_OPTIONS = frozenset({"limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "accept"})


_STUDY = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "PatientName"),
    *("PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDescription"),
    *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
)
_SERIES = (
    *("Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances"),
    *("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)
_IMAGE = ("SOPClassUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated", "NumberOfFrames")


@dataclass(frozen=True)
class SearchRequest:
    """The keys and options of a search."""

    keys: dict[str, str]
    include: tuple[str, ...]
    all_fields: bool
    limit: int | None
    offset: int
    fuzzy: bool
    unknown: tuple[str, ...]


@searching.get("/studies", summary="Search for studies", response_class=Response)
def search_studies(request: Request, call: Annotated[Call, allow("study.read")]) -> Response:
    """Studies whose attributes match the query parameters, as DICOM JSON or XML."""
    return _search(request, call, "study", {}, _STUDY)


@searching.get("/series", summary="Search for series", response_class=Response)
def search_series(request: Request, call: Annotated[Call, allow("study.read")]) -> Response:
    """Series of any study."""
    return _search(request, call, "series", {}, (*_SERIES, *_STUDY))


@searching.get("/instances", summary="Search for instances", response_class=Response)
def search_instances(request: Request, call: Annotated[Call, allow("image.read")]) -> Response:
    """Instances of any study."""
    return _search(request, call, "image", {}, (*_IMAGE, *_SERIES, *_STUDY))


@searching.get("/studies/{study}/series", summary="Search for series of a study", response_class=Response)
def search_series_of_study(request: Request, call: Annotated[Call, allow("study.read")], study: Uid) -> Response:
    """Series of one study."""
    return _search(request, call, "series", {"StudyInstanceUID": study}, _SERIES)


@searching.get("/studies/{study}/instances", summary="Search for instances of a study", response_class=Response)
def search_instances_of_study(request: Request, call: Annotated[Call, allow("image.read")], study: Uid) -> Response:
    """Instances of one study."""
    return _search(request, call, "image", {"StudyInstanceUID": study}, (*_IMAGE, *_SERIES))


@searching.get(
    "/studies/{study}/series/{series}/instances", summary="Search for instances of a series", response_class=Response
)
def search_instances_of_series(
    request: Request, call: Annotated[Call, allow("image.read")], study: Uid, series: Uid
) -> Response:
    """Instances of one series."""
    within = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    return _search(request, call, "image", within, _IMAGE)


def _search(request: Request, call: Call, level: Level, within: dict[str, str], returned: tuple[str, ...]) -> Response:
    media_type = choose_json_or_xml(request)
    search_request = _parse_request(request)
    projects = projects_of(request, call, "image.read" if level == "image" else "study.read")
    most = MOST_WITHIN if within else MOST_MATCHES
    limit = min(search_request.limit or most, most)
    with call.reading() as session:
        try:
            results = search(
                session,
                projects,
                level,
                {**search_request.keys, **within},
                include="all" if search_request.all_fields else (*returned, *search_request.include),
                extra_keywords=_extra_keywords(session, projects),
                limit=limit,
                offset=search_request.offset,
                fuzzy=search_request.fuzzy,
                combine_date_time=True,
            )
        except UnusableKey as error:
            raise HTTPException(400, error.message) from error
        project_id = next(iter(projects)) if len(projects) == 1 else None
        call.actor.record(
            session, f"{level}.search", "project", project_id, project_id=project_id, found=len(results.matches)
        )
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    warnings = []
    if results.more and limit != search_request.limit:
        warnings.append("There are additional results that can be requested by limit and offset")
    if results.ignored:
        warnings.append(f"These attributes are not searched here: {', '.join(results.ignored)}")
    if search_request.unknown:
        warnings.append(f"These parameters are unknown and were ignored: {', '.join(search_request.unknown)}")
    if warnings:
        headers["Warning"] = ", ".join(f'299 medhub "{words}"' for words in warnings)
    if not results.matches:
        return Response(status_code=204, headers=headers)
    root = root_of(request)
    body = _describe_matches(results.matches, level, root)
    unindexed = [keyword for keyword in search_request.include if keyword not in results.matches[0]]
    if unindexed:
        add_stored_attributes(call.app, projects, body, unindexed, root)
    if media_type == DICOM_XML:
        parts = [ResponsePart(DICOM_XML, item["00081190"]["Value"][0], native_model(item)) for item in body]
        return PartsResponse(parts, DICOM_XML, headers=headers)
    return Response(json.dumps(body, separators=(",", ":"), ensure_ascii=False), media_type=media_type, headers=headers)


def _extra_keywords(session: Session, projects: Iterable[str]) -> list[str]:
    """The attributes by which the projects search beside the usual ones."""
    of_projects = select(IngestSettings.attributes).where(IngestSettings.project_id.in_(sorted(projects)))
    return sorted({keyword for attributes in session.scalars(of_projects) for keyword in attributes})


def _parse_request(request: Request) -> SearchRequest:
    parameters = request.query_params.multi_items()
    if len(parameters) > _MOST_PARAMETERS:
        raise HTTPException(400, f"A search has at most {_MOST_PARAMETERS} parameters.")
    options = {name.lower(): value for name, value in parameters if name.lower() in _OPTIONS}
    multiple = _read_flag("multiplevaluematching", options)
    keys: dict[str, str] = {}
    include: list[str] = []
    unknown: list[str] = []
    for name, value in parameters:
        if name.lower() == "includefield":
            include += [part.strip() for part in value.split(",") if part.strip()]
        elif name.lower() not in _OPTIONS:
            keyword = _find_key(name)
            if keyword is None:
                # Parameters that are not supported are ignored (PS3.18, 8.3.4).
                unknown.append(name if _PRINTABLE_NAME.fullmatch(name) else "?")
                continue
            if keyword in _OF_THE_ANSWER:
                continue
            if multiple or dictionary_VR(keyword) in _WITHOUT_COMMA:
                value = value.replace(",", "\\")
            keys[keyword] = f"{keys[keyword]}\\{value}" if keys.get(keyword) else value
    included = [keyword_of_tag for part in include if (keyword_of_tag := _find_keyword(part)) is not None]
    return SearchRequest(
        keys=keys,
        include=tuple(included),
        all_fields="all" in include,
        limit=_read_number("limit", options, None) or None,
        offset=_read_number("offset", options, 0) or 0,
        fuzzy=_read_flag("fuzzymatching", options),
        unknown=tuple(dict.fromkeys(unknown))[:_MOST_NAMED],
    )


def _find_key(name: str) -> str | None:
    """The keyword of the attribute that a parameter names; ``None`` where it names none."""
    known = _find_keyword(name)
    if known is None and "." in name and all(_find_keyword(part) is not None for part in name.split(".")):
        return _find_keyword(name.split(".")[0])  # attributes of sequences are not searched, which the answer says
    return known


def _find_keyword(name: str) -> str | None:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return keyword_for_tag(int(name, 16)) or None
    return name if len(name) <= 64 and tag_for_keyword(name) is not None else None


def _read_number(name: str, options: dict[str, str], otherwise: int | None) -> int | None:
    text = options.get(name)
    if text is None:
        return otherwise
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > MOST_OFFSET:
        raise HTTPException(400, f"{name} must be a whole number from 0.")
    return int(text)


def _read_flag(name: str, options: dict[str, str]) -> bool:
    text = options.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise HTTPException(400, f"{name} must be true or false.")
    return text == "true"


def _describe_matches(matches: Sequence[Match], level: Level, root: str) -> list[dict[str, Any]]:
    """Matches, which all have the same keys, as DICOM JSON, with the addresses under which they are retrieved."""
    forms = [(*_json_form(keyword), keyword) for keyword in matches[0] if keyword not in _OF_THE_ANSWER]
    forms += [("00080005", "CS", None, _CHARSET), ("00080056", "CS", None, _ONLINE), ("00081190", "UR", None, _ADDRESS)]
    forms.sort(key=lambda form: form[0])
    body = []
    for match in matches:
        address = f"{root}/studies/{match['StudyInstanceUID'][0]}"
        if level in {"series", "image"}:
            address += f"/series/{match['SeriesInstanceUID'][0]}"
        if level == "image":
            address += f"/instances/{match['SOPInstanceUID'][0]}"
        values = {**match, _CHARSET: [UTF_8], _ONLINE: ["ONLINE"], _ADDRESS: [address]}
        item: dict[str, Any] = {}
        for tag, vr, reader, keyword in forms:
            items = values[keyword]
            if not items:
                item[tag] = {"vr": vr}
            else:
                item[tag] = {"vr": vr, "Value": items if reader is None else [reader(value) for value in items]}
        body.append(item)
    return body


_CHARSET, _ONLINE, _ADDRESS = "SpecificCharacterSet", "InstanceAvailability", "RetrieveURL"
# Attributes that every match has, and that describe the answer rather than what is searched.
_OF_THE_ANSWER = frozenset({_CHARSET, _ONLINE, _ADDRESS})
ValueReader = Callable[[str], Any] | None
_json_forms: dict[str, tuple[str, str, ValueReader]] = {}


def _json_form(keyword: str) -> tuple[str, str, ValueReader]:
    """Tag, representation, and how a value is written in JSON (PS3.18, F.2.3)."""
    if keyword not in _json_forms:
        vr = dictionary_VR(keyword).split(" or ")[0]
        read: ValueReader = None
        if vr == "PN":
            read = _read_person_name
        elif vr in {"IS", "US", "UL", "SS", "SL"}:
            read = _read_integer
        elif vr in {"DS", "FL", "FD"}:
            read = _read_decimal
        _json_forms[keyword] = (f"{tag_for_keyword(keyword):08X}", vr, read)
    return _json_forms[keyword]


def _read_person_name(value: str) -> dict[str, str]:
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
    return {group: text for group, text in groups if text}


def _read_integer(value: str) -> int | str:
    return int(value) if re.fullmatch(r"[+-]?[0-9]{1,19}", value) else value


def _read_decimal(value: str) -> float | str:
    return float(value) if re.fullmatch(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]{1,2})?", value) else value
