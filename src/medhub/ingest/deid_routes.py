# SPDX-License-Identifier: Apache-2.0
"""Routes of de-identification: the profile of a project, previews, and the manifest of an image."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from medhub.accounts.access import Call, allow
from medhub.accounts.routes import ItemId
from medhub.errors import Invalid
from medhub.foundation.http import STREAMED_BODY
from medhub.foundation.work_pools import run_until_disconnect
from medhub.ingest import manifests, profile_preview, profiles
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
from medhub.science.deid.profile import Profile, named_profiles, read_profile

projects = APIRouter(prefix="/api/projects", tags=["de-identification"])
images = APIRouter(prefix="/api/images", tags=["de-identification"])

# All files of a preview are in memory at once.
_MOST_PREVIEWED_BYTES = 256 * 1024**2
_PREVIEW_BODY = form(
    {
        "name": {"type": "string", "description": "Name of a profile that ships; without it, the project's profile."},
        "text": {"type": "string", "description": "The TOML file of a profile."},
        "files": FILES,
    },
    "files",
)


@projects.get("/{id}/profile", summary="A project's profile")
def read_profiles(call: Annotated[Call, allow("project.read")], id: ItemId) -> ProfilesOut:
    """The current profile of a project, the earlier ones, and the profiles that ship."""
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
    """De-identify new images by another profile; stored images do not change."""
    with call.writing() as session:
        return ProfileOut.of(profiles.choose_profile(session, call.actor, id, **choice.model_dump()))


@projects.post(
    "/{id}/profile/preview", summary="Preview a profile", dependencies=[STREAMED_BODY], openapi_extra=_PREVIEW_BODY
)
async def preview_profile(request: Request, call: Annotated[Call, allow("profile.preview")], id: ItemId) -> PreviewOut:
    """Report what a profile does to files, and which free texts remain; nothing of them is written."""
    await run_in_threadpool(_require_preview, call, id)
    with call.app.received.lease() as lease:
        reader = UploadReader(
            request.headers.get("content-type", ""), largest_file_bytes=call.app.settings.upload_max_bytes, lease=lease
        )
        fields: dict[str, str] = {}
        files: list[tuple[str, bytes]] = []
        async for part in reader.parts(request.stream()):
            if part.filename is None:
                fields[part.name] = part.data.decode("utf-8", "replace")
            elif part.name == "files":
                files.append((part.filename[:255], bytes(part.data)))
            if len(files) > profile_preview.MOST_FILES or sum(len(data) for _, data in files) > _MOST_PREVIEWED_BYTES:
                raise Invalid(
                    f"A preview takes at most {profile_preview.MOST_FILES} files of 256 MB in all. Choose some.",
                    field="files",
                )
        if not files:
            raise Invalid("The preview has no files. Choose at least one.", field="files")
        return await run_until_disconnect(request.receive, "upload", _preview, call, id, fields, files)


def _require_preview(call: Call, project_id: str) -> None:
    call.actor.require("profile.preview", project_id, "project")


def _preview(call: Call, project_id: str, fields: dict[str, str], files: list[tuple[str, bytes]]) -> PreviewOut:
    profile = _read_profile(call, project_id, fields)
    profile_preview.record_preview(call.actor, call.app, project_id, profile, len(files))
    return PreviewOut.of(profile, profile_preview.preview_profile(call.app, project_id, profile, files))


def _read_profile(call: Call, project_id: str, fields: dict[str, str]) -> Profile:
    if fields.get("text"):
        return read_profile(fields["text"][: profiles.MOST_TEXT])
    if fields.get("name"):
        return read_profile(profiles.shipped_text(fields["name"]))
    with call.reading() as session:
        return profiles.profile_of(session, project_id).profile


@images.get("/{id}/manifest", summary="What was done to an image")
def read_manifest(call: Annotated[Call, allow("image.read")], id: ItemId) -> ManifestOut:
    """What was done to each attribute of an image before it was first written; never a value."""
    with call.reading() as session:
        manifest, lines = manifests.read_manifest(session, call.actor, id)
        return ManifestOut.of(manifest, lines)
