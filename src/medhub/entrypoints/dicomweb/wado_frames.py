# SPDX-License-Identifier: Apache-2.0
"""WADO-RS: frames as they are stored, decoded, or compressed for the request (PS3.18, 10.4 and 8.7.3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request, Response
from pydicom.uid import UID
from starlette.exceptions import HTTPException

from medhub.accounts.access import Call, allow
from medhub.entrypoints.dicomweb.content_negotiation import Accepted, accepted, not_acceptable
from medhub.entrypoints.dicomweb.multipart_response import PartsResponse, ResponsePart
from medhub.entrypoints.dicomweb.project_paths import PREFIX, NothingThere, Uid
from medhub.entrypoints.dicomweb.stored_instances import StoredInstance, read_instance
from medhub.entrypoints.dicomweb.wado import EXPLICIT, OCTETS
from medhub.foundation.app_context import AppContext
from medhub.foundation.work_pools import runs_in
from medhub.science.imaging.decoding_limits import Unacceptable
from medhub.science.imaging.rendering import dicomweb_payloads
from medhub.science.imaging.rendering.lossless_transcoding import LOSSLESS_SYNTAXES
from medhub.viewing import service

retrieving_frames = APIRouter(prefix=PREFIX, tags=["dicomweb"], include_in_schema=False)

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
MOST_FRAMES = 1_000
# Media types of compressed frames; of each, the first syntax that Medhub writes is its default (PS3.18, table 8.7.3-5).
_COMPRESSED = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
}
Numbers = Annotated[
    str, Path(max_length=8_000, pattern=r"^[0-9]{1,9}(,[0-9]{1,9})*$", description="Numbers of frames, from 1.")
]


class FrameForm(NamedTuple):
    """A form of frames: media type, transfer syntax (empty for pictures), and how it is made."""

    media_type: str
    syntax: str
    method: str

    @property
    def described(self) -> str:
        """The media type with its transfer syntax."""
        return f"{self.media_type};transfer-syntax={self.syntax}" if self.syntax else self.media_type


@retrieving_frames.get(
    "/studies/{study}/series/{series}/instances/{instance}/frames/{numbers}",
    summary="Frames",
    response_class=Response,
)
@runs_in("rendering")
def retrieve_frames(
    request: Request,
    call: Annotated[Call, allow("image.read")],
    study: Uid,
    series: Uid,
    instance: Uid,
    numbers: Numbers,
) -> Response:
    """Frames in the form that the client likes best of those that can be made; no other frame is read or decoded."""
    stored, address = read_instance(request, call, "frames", study, series, instance)
    frame_numbers = _parse_frame_numbers(stored, numbers)
    refusals: dict[str, None] = {}
    for accepted_form in accepted(request):
        as_parts = accepted_form.multipart or accepted_form.media_type == "*/*"
        if not as_parts and len(frame_numbers) > 1:
            continue
        for form in _possible_forms(stored, accepted_form):
            sources = [_frame_source(call.app, stored, number - 1, form) for number in frame_numbers]
            try:
                if callable(sources[0]):  # what cannot be made is refused before anything is sent
                    sources[0] = sources[0]()
            except Unacceptable as refusal:
                refusals[refusal.message] = None
                continue
            if as_parts:
                return _parts_response(sources, form, [f"{address}/frames/{number}" for number in frame_numbers])
            return _single_response(sources[0], form.described)
    raise not_acceptable(_offered(stored), " ".join(refusals))


def _parse_frame_numbers(stored: StoredInstance, numbers: str) -> list[int]:
    frame_numbers = [int(number) for number in numbers.split(",")]
    if len(frame_numbers) > MOST_FRAMES:
        raise HTTPException(400, f"At most {MOST_FRAMES} frames are sent at once.")
    if not all(1 <= number <= stored.image.frames for number in frame_numbers):
        raise NothingThere(f"This object has {stored.image.frames} frames, numbered from 1.")
    return frame_numbers


def _possible_forms(instance: StoredInstance, accepted_form: Accepted) -> Iterator[FrameForm]:
    """The forms that one accepted form means, best first; whether one can be made shows when it is made."""
    stored, wanted = instance.image.transfer_syntax_uid, accepted_form.transfer_syntax
    kind = _COMPRESSED.get(stored, OCTETS)
    as_stored = FrameForm(kind, stored, "stored")
    if accepted_form.allows(kind) and wanted in {None, "*", stored}:
        yield as_stored
    if accepted_form.allows(OCTETS):
        if wanted in {"*", stored}:
            yield as_stored
        elif wanted in {None, EXPLICIT}:
            yield FrameForm(OCTETS, EXPLICIT, "raw")
        elif wanted in LOSSLESS_SYNTAXES:
            yield FrameForm(_COMPRESSED[wanted], wanted, "lossless")
        return
    named = wanted not in {None, "*"}
    if accepted_form.allows("image/jpeg") and _is_shallow(instance) and (not named or wanted == JPEG_BASELINE):
        yield FrameForm("image/jpeg", JPEG_BASELINE, "jpeg")
    if accepted_form.allows("image/png") and not named:
        yield FrameForm("image/png", "", "png")
    for syntax, media_type in _COMPRESSED.items():
        if syntax in LOSSLESS_SYNTAXES and accepted_form.allows(media_type) and (not named or wanted == syntax):
            yield FrameForm(media_type, syntax, "lossless")


def _is_shallow(instance: StoredInstance) -> bool:
    return int((instance.image.attributes.get("BitsAllocated") or ["8"])[0]) <= 8


def _offered(instance: StoredInstance) -> list[str]:
    """The forms that can be named for an object, of which some may be unable to hold its values."""
    stored = instance.image.transfer_syntax_uid
    forms = {
        f'multipart/related; type="{OCTETS}"; transfer-syntax=*': None,
        f'multipart/related; type="{OCTETS}"': None,
        f'multipart/related; type="{_COMPRESSED.get(stored, OCTETS)}"; transfer-syntax={stored}': None,
    }
    if _is_shallow(instance):
        forms[f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG_BASELINE}'] = None
    for syntax in LOSSLESS_SYNTAXES:
        forms[f'multipart/related; type="{_COMPRESSED[syntax]}"; transfer-syntax={syntax}'] = None
    return [*forms, "image/png"]


def _frame_source(app: AppContext, stored: StoredInstance, number: int, form: FrameForm) -> Any:
    """Where a frame lies, or what makes it when it is due."""
    image, method = stored.image, form.method
    if method == "lossless":
        return lambda: service.transcoded_frame(app, image, number, form.syntax)
    native = not UID(image.transfer_syntax_uid).is_encapsulated
    if method == "stored" or (method == "raw" and native):
        spans = service.stored_frame(app, image, number)
        if spans:
            return spans
        if not native:
            return lambda: app.isolation.run(dicomweb_payloads.stored, app.blobs.get(image.blob), number)
        method = "raw"
    return lambda: service.frame_values(app, image, number, method)


def _parts_response(sources: Sequence[Any], form: FrameForm, addresses: Sequence[str]) -> Response:
    parts = [ResponsePart(form.described, address, source) for address, source in zip(addresses, sources, strict=True)]
    return PartsResponse(parts, form.media_type, headers={"Vary": "Accept"})


def _single_response(source: Any, media_type: str) -> Response:
    if not isinstance(source, bytes):
        chunks = []
        for span in source:
            with span.path.open("rb", buffering=0) as file:
                file.seek(span.start)
                chunks.append(file.read(span.length))
        source = b"".join(chunks)
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept", "X-Content-Type-Options": "nosniff"}
    return Response(source, media_type=media_type, headers=headers)
