# SPDX-License-Identifier: Apache-2.0
"""Routes of de-identification: a project's profile, previews, and what was done to an image."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid, NotFound
from medhub.ingest import profiles
from medhub.ingest.models import Manifest, ManifestLines
from medhub.ingest.profile_preview import MOST_FILES, preview, record_preview
from medhub.ingest.schemas import (
    ChosenBefore,
    ManifestOut,
    PreviewOut,
    ProfileChoice,
    ProfileOut,
    ProfilesOut,
    ShippedProfile,
)
from medhub.ingest.upload_parser import FILES, UploadReader, form
from medhub.records import studies
from medhub.science.deid.profile import Profile, named_profiles, read_profile

projects = APIRouter(prefix="/api/projects", tags=["de-identification"])
images = APIRouter(prefix="/api/images", tags=["de-identification"])

# All files of a preview lie in memory at once.
_MOST_PREVIEWED_BYTES = 256 * 1024**2
_PREVIEW_BODY = form(
    {
        "name": {"type": "string", "description": "A profile that ships; else the project's own."},
        "text": {"type": "string", "description": "The TOML file of a profile."},
        "files": FILES,
    },
    "files",
)


@projects.get("/{id}/profile", summary="A project's profile")
def read_profiles(call: Annotated[Call, allow("project.read")], id: ItemId) -> ProfilesOut:
    """By what a project de-identifies what arrives, by what it did before, and what it could choose."""
    with call.reading() as session:
        current, history = profiles.profiles_of(session, call.actor, id)
        return ProfilesOut(
            current=ProfileOut.of(current),
            shipped=[
                ShippedProfile(name=name, title=title, text=profiles.shipped_text(name))
                for name, title in named_profiles().items()
            ],
            history=[ChosenBefore.model_validate(row, extra="ignore") for row in history],
        )


@projects.put("/{id}/profile", summary="Choose a project's profile")
def choose_profile(call: Annotated[Call, allow("profile.choose")], id: ItemId, choice: ProfileChoice) -> ProfileOut:
    """De-identify by another profile from now on; what lies there already stays as it is."""
    with call.writing() as session:
        return ProfileOut.of(profiles.choose_profile(session, call.actor, id, **choice.model_dump()))


@projects.post("/{id}/profile/preview", summary="Preview a profile", openapi_extra=_PREVIEW_BODY)
async def preview_profile(request: Request, call: Annotated[Call, allow("profile.preview")], id: ItemId) -> PreviewOut:
    """What a profile would do to files, and which free texts would remain; nothing of them is written."""
    await run_in_threadpool(_may_preview, call, id)
    reader = UploadReader(
        request.headers.get("content-type", ""), largest_file_bytes=call.app.settings.upload_max_bytes
    )
    given: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    async for part in reader.parts(request.stream()):
        if part.filename is None:
            given[part.name] = part.data.decode("utf-8", "replace")
        elif part.name == "files":
            files.append((part.filename[:255], bytes(part.data)))
        if len(files) > MOST_FILES or sum(len(data) for _, data in files) > _MOST_PREVIEWED_BYTES:
            raise Invalid(f"A preview takes at most {MOST_FILES} files of 256 MB in all. Choose some.", field="files")
    if not files:
        raise Invalid("The preview has no files. Choose at least one.", field="files")
    return await run_in_threadpool(_preview, call, id, given, files)


def _may_preview(call: Call, project_id: str) -> None:
    call.actor.require("profile.preview", project_id, "project")


def _preview(call: Call, project_id: str, given: dict[str, str], files: list[tuple[str, bytes]]) -> PreviewOut:
    profile = _wanted(call, project_id, given)
    record_preview(call.actor, call.app, project_id, profile, len(files))
    return PreviewOut.of(profile, preview(call.app, profile, files))


def _wanted(call: Call, project_id: str, given: dict[str, str]) -> Profile:
    if given.get("text"):
        return read_profile(given["text"][: profiles.MOST_TEXT])
    if given.get("name"):
        return read_profile(profiles.shipped_text(given["name"]))
    with call.reading() as session:
        return profiles.profile_of(session, project_id).profile


@images.get("/{id}/manifest", summary="What was done to an image")
def read_manifest(call: Annotated[Call, allow("image.read")], id: ItemId) -> ManifestOut:
    """What was done to an image, attribute by attribute, before it was first written; never a value."""
    with call.reading() as session:
        image = studies.get_image(session, call.actor, id)
        manifest = session.get(Manifest, image.id)
        if manifest is None:
            raise NotFound("This image came in before manifests were kept.")
        studies.record_image(session, call.actor, "image.view", image, what="manifest")
        return ManifestOut.of(manifest, session.get_one(ManifestLines, manifest.lines).lines)
