# SPDX-License-Identifier: Apache-2.0
"""Pictures as the report carries them: small enough to hand on, and nothing in them but pixels."""

from __future__ import annotations

import base64
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from medhub.errors import Invalid

LARGEST_PIXELS = 100_000_000
QUALITY = 88


def jpeg(picture: bytes, longest_side: int) -> tuple[bytes, int, int]:
    """Return the picture as a JPEG without metadata, no longer than ``longest_side``, and its width and height.

    A JPEG that is already so is kept byte for byte.
    """
    try:
        # Refused below by the same number, with words; Pillow would only warn.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(io.BytesIO(picture), formats=("JPEG", "PNG", "WEBP"))
        if image.width * image.height > LARGEST_PIXELS:
            raise Invalid(f"A picture of {image.width} by {image.height} pixels is too large for a report.")
        if image.format == "JPEG" and max(image.size) <= longest_side and _bare(image):
            image.load()
            return picture, image.width, image.height
        image.draft("RGB", (longest_side, longest_side))
        image = _flat(ImageOps.exif_transpose(image))
        image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Invalid("A picture for the report could not be read as JPEG, PNG or WebP.") from error
    # Pillow would write a comment that it read back into the new file.
    image.info.clear()
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue(), image.width, image.height


def svg(picture: bytes, width: int, height: int) -> str:
    """Return the JPEG inside an SVG: text is all that typst takes from memory, and it keeps the JPEG's bytes."""
    data = base64.b64encode(picture).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:image/jpeg;base64,{data}"/></svg>'
    )


def _bare(image: Image.Image) -> bool:
    """Tell whether a JPEG is plain gray or RGB and carries no EXIF, comment, profile or other segment."""
    segments = {name for name, _ in getattr(image, "applist", ())}
    return image.mode in ("L", "RGB") and segments <= {"APP0", "APP14"} and "comment" not in image.info


def _flat(image: Image.Image) -> Image.Image:
    """Return the image as gray or RGB on white, as paper is."""
    if image.mode in ("L", "RGB"):
        return image
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")
