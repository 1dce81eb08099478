# SPDX-License-Identifier: Apache-2.0
"""The final form of an image, as its blobs are written before the transaction that references them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medhub.foundation.app_context import AppContext
from medhub.foundation.isolation import DecoderFailed
from medhub.ingest.ingest_file import CleanedArrival
from medhub.ingest.refusals import ArrivalRefused, FileUndecodable
from medhub.records import isolated_calls
from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.deid.uids import keyed_uid


@dataclass(frozen=True)
class ImageBlobs:
    """An image in its final form, with the digests of its file and of its thumbnail, if any."""

    image: CleanedImage
    file: str
    thumbnail: str | None

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all its blobs."""
        return (self.file, self.thumbnail) if self.thumbnail is not None else (self.file,)


def finish_image(app: AppContext, arrival: CleanedArrival) -> CleanedImage | ArrivalRefused:
    """The image as stored: with redacted pixels, and the UIDs of the target study, if a user chose one."""
    image, text = arrival.image, arrival.text
    if text is not None:
        image = replace(
            image,
            dicom=text.dicom,
            thumbnail=text.thumbnail or image.thumbnail,
            transfer_syntax_uid=text.transfer_syntax_uid,
        )
    target = arrival.context.target
    if target is None:
        return image
    series_uid = target.series_uid
    if series_uid is not None and target.modality != image.modality:
        return ArrivalRefused(
            f"A series is of one modality: this one is {target.modality}, and the file is {image.modality}. "
            "Upload it into the study instead; nothing was stored.",
            reason="another-modality",
        )
    if image.study_instance_uid == target.study_uid and series_uid in {None, image.series_instance_uid}:
        return image
    if series_uid is None:
        # The images of one received series form one series here, which belongs to no other study.
        key = app.keys.derive(f"uids {arrival.context.project_id}")
        series_uid = keyed_uid(key, "placed series", target.study_uid, image.series_instance_uid)
    try:
        dicom = isolated_calls.move_to_series(app, image.dicom, target.study_uid, series_uid)
    except DecoderFailed as failure:
        return FileUndecodable(failure)
    return replace(
        image,
        dicom=dicom,
        study_instance_uid=target.study_uid,
        series_instance_uid=series_uid,
    )


def write_blobs(app: AppContext, images: Sequence[CleanedImage]) -> list[ImageBlobs]:
    """Write files and thumbnails in one call, which syncs the disk once."""
    contents = [data for image in images for data in (image.dicom, image.thumbnail) if data]
    digests = iter(app.blobs.put_all(contents))
    return [ImageBlobs(image, next(digests), next(digests) if image.thumbnail else None) for image in images]
