# SPDX-License-Identifier: Apache-2.0
"""Photographs of every kind and fault, from received bytes to stored pixels."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import dcmread
from pydicom.encaps import get_frame

from medhub.science.arrivals.cleaned_image import CleanedImage
from medhub.science.arrivals.cleaning import prepare_arrival
from medhub.science.arrivals.transient_decoding import decode_photograph
from medhub.science.imaging.decoding_limits import DecodingLimits, Unacceptable
from medhub.science.imaging.photographs.photograph import turn
from medhub.science.imaging.rendering.frames import read_frame
from medhub.science.imaging.rendering.renditions import original
from tests.science.imaging.pictures import (
    CONTEXT,
    LIMITS,
    SHARED_DATA,
    cells,
    decoded,
    deep_png,
    encode,
    exif,
    png,
    png_chunk,
    tiff,
)


def prepare(data: bytes, limits: DecodingLimits = LIMITS) -> CleanedImage:
    return prepare_arrival(data, context=CONTEXT, limits=limits)


def refusal(data: bytes, limits: DecodingLimits = LIMITS) -> Unacceptable:
    with pytest.raises(Unacceptable) as caught:
        prepare(data, limits)
    with pytest.raises(Unacceptable):
        decode_photograph(data, limits)
    assert caught.value.message.endswith(".")
    return caught.value


def test_a_jpeg_keeps_its_stream_and_its_pixels() -> None:
    data = encode(cells(), "JPEG", quality=88)
    prepared = prepare(data)
    assert prepared.transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))
    stream = get_frame(dcmread(BytesIO(prepared.dicom)).PixelData, 0, number_of_frames=1)
    assert stream[: len(data)][data.index(b"\xff\xdb") :] == data[data.index(b"\xff\xdb") :]
    assert prepared.lossless
    assert (prepared.rows, prepared.columns, prepared.frames, prepared.samples, prepared.bits) == (120, 160, 1, 3, 8)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [5, 60, 95])
def test_a_jpeg_of_any_sampling_and_quality_is_shown_as_any_decoder_shows_it(subsampling: int, quality: int) -> None:
    data = encode(cells(77, 131), "JPEG", subsampling=subsampling, quality=quality)
    assert np.array_equal(read_frame(prepare(data).dicom), decoded(data))


def test_a_grey_jpeg_stays_grey() -> None:
    data = encode(cells()[..., 0], "JPEG")
    prepared = prepare(data)
    assert prepared.samples == 1
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))


def test_a_jpeg_of_red_green_and_blue_is_marked_so() -> None:
    data = encode(cells(), "JPEG", keep_rgb=True)
    prepared = prepare(data)
    assert dcmread(BytesIO(prepared.dicom)).PhotometricInterpretation == "RGB"
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))


def test_a_progressive_jpeg_keeps_its_decoded_pixels() -> None:
    data = encode(cells(), "JPEG", progressive=True)
    prepared = prepare(data)
    assert prepared.transfer_syntax_uid != "1.2.840.10008.1.2.4.50"
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))
    assert "process" in prepared.notes[0]
    assert dcmread(BytesIO(prepared.dicom)).LossyImageCompression == "01"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_other_kinds_are_kept_exactly(form: str, mode: str) -> None:
    image = Image.fromarray(cells()).convert(mode)
    data = encode(image, form)
    prepared = prepare(data)
    assert prepared.lossless
    assert np.array_equal(read_frame(prepared.dicom), np.asarray(image.convert("RGB")))
    assert dcmread(BytesIO(prepared.dicom)).LossyImageCompression == "00"


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_is_kept_as_it_decodes(lossless: bool) -> None:
    data = encode(cells(), "WEBP", lossless=lossless, quality=80)
    prepared = prepare(data)
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))
    assert dcmread(BytesIO(prepared.dicom)).LossyImageCompression == ("00" if lossless else "01")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_of_any_compression_is_read(compression: str) -> None:
    data = encode(cells(), "TIFF", compression=compression)
    assert np.array_equal(read_frame(prepare(data).dicom), decoded(data))


def test_the_content_and_not_the_name_says_what_a_file_is() -> None:
    assert prepare(encode(cells(), "PNG")).kind == "photograph"
    refused = refusal(b"<html>my.jpg</html>" * 20)
    assert refused.reason == "not-an-image"


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", "empty", "0 bytes"),
        (b"Doe, Jane; 1970-01-01; leukaemia\n" * 9, "not-an-image", "not an image"),
        (b"\x00" * 4096, "not-an-image", "not an image"),
        (b"\xff\xd8\xff", "truncated", "ends before"),
        (b"%PDF-1.7 ...........................", "unsupported", "PDF"),
        (b"PK\x03\x04" + b"\x00" * 64, "unsupported", "ZIP"),
        (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 64, "truncated", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom" + b"\x00" * 64, "unsupported", "video"),
        (b"BM" + b"\x00" * 64, "damaged", "damaged"),
        (b"II*\x00\x08\x00\x00\x00\x00\x00", "damaged", "damaged"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 \x04\x00\x00\x00\x00\x00\x00\x00", "damaged", "damaged"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(data: bytes, reason: str, words: str) -> None:
    refused = refusal(data)
    assert refused.reason == reason
    assert words in refused.message
    assert "Doe" not in refused.message


def test_a_jpeg_cut_at_61_percent_says_how_much_of_it_is_there() -> None:
    data = encode(cells(600, 800), "JPEG", quality=90)
    refused = refusal(data[: len(data) * 61 // 100])
    assert refused.reason == "truncated"
    share = re.search(r"About (\d+)%", refused.message)
    assert share
    assert 50 <= int(share[1]) <= 72


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.03, 0.3, 0.61, 0.9, 0.999])
def test_a_file_cut_anywhere_is_refused(form: str, share: float) -> None:
    data = encode(cells(), form, **({"compression": "tiff_lzw"} if form == "TIFF" else {}))
    cut = data[: min(int(len(data) * share), len(data) - 2)]
    assert refusal(cut).reason in ("truncated", "damaged")


@pytest.mark.parametrize("share", [0.3, 0.61, 0.95])
def test_a_cut_jpeg_that_was_given_an_end_marker_is_refused_all_the_same(share: float) -> None:
    data = encode(cells(), "JPEG", quality=90)
    repaired = data[: int(len(data) * share)] + b"\xff\xd9"
    assert decoded(repaired).shape == (120, 160, 3)
    assert refusal(repaired).reason == "truncated"


def test_a_progressive_jpeg_that_is_cut_off_is_refused() -> None:
    data = encode(cells(), "JPEG", progressive=True)
    assert refusal(data[: len(data) * 61 // 100]).reason == "truncated"


def test_damage_in_the_middle_of_a_png_is_noticed() -> None:
    data = bytearray(encode(cells(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert refusal(bytes(data)).reason == "damaged"


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_as_one(form: str) -> None:
    first, second = Image.fromarray(cells()), Image.fromarray(cells(seed=2))
    data = encode(first, form, save_all=True, append_images=[second], duration=100)
    refused = refusal(data)
    assert refused.reason == "animated"
    assert "animation" in refused.message


def test_a_gif_of_one_picture_is_refused_for_its_colors() -> None:
    refused = refusal(encode(Image.fromarray(cells()).convert("P"), "GIF"))
    assert refused.reason == "unsupported"
    assert "256 colors" in refused.message


def test_a_tiff_of_several_pages_is_refused() -> None:
    first, second = Image.fromarray(cells()), Image.fromarray(cells(seed=2))
    refused = refusal(encode(first, "TIFF", save_all=True, append_images=[second]))
    assert refused.reason == "unsupported"
    assert "several pages" in refused.message


def test_a_reduced_copy_in_a_tiff_does_not_count_as_a_page() -> None:
    first = Image.fromarray(cells())
    copy = first.reduce(4)
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    data = encode(first, "TIFF", save_all=True, append_images=[copy])
    assert np.array_equal(read_frame(prepare(data).dicom), cells())


def test_printing_colors_become_red_green_and_blue_the_right_way_round() -> None:
    image = Image.fromarray(cells()).convert("CMYK")
    prepared = prepare(encode(image, "JPEG", quality=95))
    assert not prepared.lossless
    assert "CMYK" in prepared.notes[0]
    difference = np.abs(read_frame(prepared.dicom).astype(int) - cells())
    assert difference.mean() < 6
    exact = prepare(encode(image, "TIFF"))
    assert np.array_equal(read_frame(exact.dicom), np.asarray(image.convert("RGB")))


def deep(rows: int = 40, columns: int = 50, *, bits: int = 16, samples: int | None = None) -> NDArray[np.uint16]:
    shape = (rows, columns) if samples is None else (rows, columns, samples)
    generator = np.random.default_rng(5)
    values: NDArray[np.uint16] = generator.integers(0, 2**bits, shape).astype(np.uint16)
    values.flat[0], values.flat[1] = 2**bits - 1, 0
    return values


def with_significant_bits(data: bytes, bits: int) -> bytes:
    """Add an sBIT chunk to a PNG, after its header."""
    return data[:33] + png_chunk(b"sBIT", bytes([bits])) + data[33:]


def stored(prepared: CleanedImage) -> NDArray[np.uint16]:
    dataset = dcmread(BytesIO(prepared.dicom))
    array: NDArray[np.uint16] = dataset.pixel_array
    return array


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_kept_and_shown_over_their_whole_range(bits: int, form: str) -> None:
    values = deep(bits=bits)
    # The file says how many bits are used: in an sBIT chunk, or as MaxSampleValue.
    data = (
        with_significant_bits(deep_png(values), bits)
        if form == "PNG"
        else encode(values, "TIFF", tiffinfo={281: 2**bits - 1})
    )
    prepared = prepare(data)
    assert prepared.bits == bits
    assert prepared.lossless
    assert prepare(original(prepared.dicom)[0]).bits == bits
    assert np.array_equal(stored(prepared), values)
    shown = read_frame(prepared.dicom)
    assert shown.min() == 0
    assert shown.max() == 255
    assert np.array_equal(shown, decode_photograph(data, LIMITS))
    again, media_type = original(prepared.dicom)
    assert media_type == "image/png"
    assert np.array_equal(np.asarray(Image.open(BytesIO(again))), values)


def test_sixteen_bits_a_color_are_kept() -> None:
    values = deep(samples=3)
    prepared = prepare(deep_png(values))
    assert (prepared.bits, prepared.samples) == (16, 3)
    assert np.array_equal(stored(prepared), values)
    assert np.array_equal(read_frame(prepared.dicom), values >> 8)
    assert np.array_equal(stored(prepare(original(prepared.dicom)[0])), values)


@pytest.mark.parametrize("samples", [2, 4])
def test_sixteen_bits_with_an_opaque_alpha_are_kept(samples: int) -> None:
    values = deep(samples=samples)
    values[..., -1] = 65535
    prepared = prepare(deep_png(values))
    assert prepared.lossless
    assert np.array_equal(stored(prepared), values[..., 0] if samples == 2 else values[..., :3])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_sixteen_bits_a_color_is_kept_in_both_byte_orders(order: str) -> None:
    values = deep(samples=3)
    pixels = values.astype(order + "u2").tobytes()
    data = tiff(
        {
            256: (3, 1, 50),
            257: (3, 1, 40),
            258: (3, 3, struct.pack(order + "HHH", 16, 16, 16)),
            259: (3, 1, 1),
            262: (3, 1, 2),
            273: (4, 1, 0),
            277: (3, 1, 3),
            278: (3, 1, 40),
            279: (4, 1, len(pixels)),
        },
        pixels,
        order=order,
    )
    assert np.array_equal(stored(prepare(data)), values)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 12, 14])
def test_a_dim_image_of_sixteen_bits_stays_dim(bits: int, form: str) -> None:
    values = deep(bits=bits)
    prepared = prepare(deep_png(values) if form == "PNG" else encode(values, "TIFF"))
    assert prepared.bits == 16
    assert np.abs(read_frame(prepared.dicom)[..., 0].astype(int) - np.rint(values / 257)).max() <= 1


def test_samples_that_a_writer_scaled_are_of_sixteen_bits() -> None:
    dim = (deep(bits=8) & np.uint16(0xFFF0)).astype(np.uint16)
    assert prepare(with_significant_bits(deep_png(dim), 12)).bits == 16
    assert prepare(with_significant_bits(deep_png(dim << np.uint16(8)), 12)).bits == 16


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_changes_nothing(mode: str) -> None:
    image = Image.fromarray(cells()).convert(mode)
    prepared = prepare(encode(image, "PNG"))
    assert prepared.lossless
    assert prepared.notes == ()
    assert np.array_equal(read_frame(prepared.dicom), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("sixteen", [False, True])
def test_transparent_parts_are_laid_on_white_and_what_they_hid_is_gone(sixteen: bool) -> None:
    pixels = np.dstack([cells(), np.full((120, 160), 255, np.uint8)])
    pixels[30:60, 40:80, :3] = 7
    pixels[30:60, 40:80, 3] = 0
    data = deep_png(pixels.astype(np.uint16) * 257) if sixteen else encode(pixels, "PNG")
    prepared = prepare(data)
    shown = read_frame(prepared.dicom)
    assert not prepared.lossless
    assert "white" in prepared.notes[0]
    assert (shown[30:60, 40:80] == 255).all()
    assert np.array_equal(shown[60:], cells()[60:])


def test_transparent_grey_stays_grey() -> None:
    grey = cells()[..., 0]
    pixels = np.dstack([grey, np.full_like(grey, 255)])
    pixels[:20, :, 1] = 0
    prepared = prepare(encode(Image.fromarray(pixels, "LA"), "PNG"))
    shown = read_frame(prepared.dicom)[..., 0]
    assert prepared.samples == 1
    assert (shown[:20] == 255).all()
    assert np.array_equal(shown[20:], grey[20:])
    marked = prepare(encode(grey, "PNG", transparency=int(grey[0, 0])))
    assert (read_frame(marked.dicom)[..., 0][grey == grey[0, 0]] == 255).all()


def test_a_palette_is_looked_up_with_its_transparency() -> None:
    image = Image.fromarray(cells()).quantize(16)
    plain = prepare(encode(image, "PNG"))
    assert plain.lossless
    assert np.array_equal(read_frame(plain.dicom), np.asarray(image.convert("RGB")))
    index = int(np.asarray(image)[0, 0])
    seen = read_frame(prepare(encode(image, "PNG", transparency=index)).dicom)
    assert (seen[np.asarray(image) == index] == 255).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_spans_black_to_white(bits: int) -> None:
    values = np.tile(np.arange(2**bits, dtype=np.uint8), (4, 8))
    packed = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes() for row in values]
    data = png(values.shape[1], 4, bits, 0, b"".join(b"\x00" + row for row in packed))
    assert np.array_equal(read_frame(prepare(data).dicom)[..., 0], values * (255 // (2**bits - 1)))


def test_samples_of_32_bits_are_refused() -> None:
    refused = refusal(encode(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF"))
    assert refused.reason == "unsupported"
    assert "32 bits" in refused.message


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_the_right_way_up(orientation: int, form: str) -> None:
    options = {"WEBP": {"lossless": True}}.get(form, {})
    data = encode(cells(), form, exif=exif(orientation), **options)
    with Image.open(BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    prepared = prepare(data)
    assert np.array_equal(read_frame(prepared.dicom), upright)
    assert (prepared.rows, prepared.columns) == upright.shape[:2]
    assert prepared.lossless
    assert any("right way up" in note for note in prepared.notes) == (orientation != 1)


def test_turning_agrees_with_the_definition() -> None:
    # EXIF 2.32: the value tells where row 0 and column 0 of the stored picture are in the upright one.
    stored_picture = np.arange(6).reshape(2, 3)
    assert turn(stored_picture, 6).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert turn(stored_picture, 8).tolist() == [[2, 5], [1, 4], [0, 3]]
    assert turn(stored_picture, 3).tolist() == [[5, 4, 3], [2, 1, 0]]


def huge_tiff() -> bytes:
    return tiff(
        {
            256: (4, 1, 100_000),
            257: (4, 1, 100_000),
            258: (3, 1, 8),
            259: (3, 1, 1),
            262: (3, 1, 1),
            273: (4, 1, 0),
            277: (3, 1, 1),
            278: (4, 1, 100_000),
            279: (4, 1, 64),
        },
        bytes(64),
    )


def huge_webp() -> bytes:
    data = bytearray(encode(np.zeros((2, 2, 3), np.uint8), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9
    struct.pack_into("<I", data, at, 16383 | 16383 << 14)
    return bytes(data)


def huge_bmp() -> bytes:
    data = bytearray(encode(np.zeros((2, 2, 3), np.uint8), "BMP"))
    struct.pack_into("<ii", data, 18, 60_000, 60_000)
    return bytes(data)


def huge_jpeg() -> bytes:
    data = bytearray(encode(np.zeros((8, 8), np.uint8), "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 65_500, 65_500)
    return bytes(data)


@pytest.mark.parametrize("make", [huge_tiff, huge_webp, huge_bmp, huge_jpeg])
def test_declared_sizes_are_refused_before_memory_is_taken(make: object) -> None:
    assert callable(make)
    data: bytes = make()
    assert len(data) < 2_000
    refused = refusal(data)
    assert refused.reason == "too-many-pixels"
    assert "100,000,000" in refused.message


def test_a_png_bomb_is_refused_by_its_size_or_stays_within_it() -> None:
    refused = refusal(png(60_000, 60_000, 8, 0, bytes(1_000_000)))
    assert refused.reason == "too-many-pixels"
    # A small declared size with data for a larger one unfolds no further than declared.
    prepared = prepare(png(10, 10, 8, 0, bytes(30_000_000)))
    assert (prepared.rows, prepared.columns) == (10, 10)


def test_a_bomb_in_a_text_chunk_is_not_unfolded() -> None:
    text = png_chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(50_000_000), 9))
    prepared = prepare(png(4, 4, 8, 0, (b"\x00" + bytes(4)) * 4, text))
    assert prepared.rows == 4


def test_a_file_above_the_limit_of_bytes_is_refused() -> None:
    refused = refusal(encode(cells(), "PNG"), DecodingLimits(max_bytes=1_000))
    assert refused.reason == "too-many-bytes"
    assert "1,000" in refused.message


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_a_picture_of_one_pixel_is_a_picture(form: str) -> None:
    data = encode(np.full((1, 1, 3), 90, np.uint8), form)
    prepared = prepare(data)
    assert (prepared.rows, prepared.columns) == (1, 1)
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))


def test_a_phone_picture_with_a_second_one_behind_it_keeps_the_first() -> None:
    first, second = Image.fromarray(cells()), Image.fromarray(cells(seed=9))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    prepared = prepare(data)
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))
    assert len(prepared.dicom) < len(data)


def test_what_is_hung_behind_a_jpeg_is_cut_off() -> None:
    data = encode(cells(), "JPEG")
    prepared = prepare(data + b"PK\x03\x04CANARY.zip" * 100)
    assert b"CANARY" not in prepared.dicom
    assert b"PK\x03\x04" not in prepared.dicom
    assert np.array_equal(read_frame(prepared.dicom), decoded(data))


CANARY = "CANARY^Jane"


def with_texts(form: str) -> bytes:
    from PIL import ImageCms, PngImagePlugin

    block = Image.Exif()
    block[0x010E] = block[0x013B] = block[0x8298] = CANARY
    block.get_ifd(0x8825).update({1: "N", 2: (3.0, 8.0, 0.0), 29: CANARY})
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = icc.replace(b"Little CMS", b"CANARY^Jan")
    options: dict[str, object] = {"exif": block.tobytes(), "icc_profile": icc}
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{CANARY}</x:xmpmeta>".encode()
    if form == "JPEG":
        options |= {"comment": CANARY, "xmp": xmp}
    elif form == "WEBP":
        options |= {"xmp": xmp, "lossless": True}
    elif form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", CANARY)
        info.add_text("Author", CANARY, zip=True)
        info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
        options |= {"pnginfo": info}
    elif form == "TIFF":
        options |= {"tiffinfo": {270: CANARY, 315: CANARY, 700: xmp, 33723: CANARY.encode(), 34377: CANARY.encode()}}
    data = encode(cells(), form, **options)
    assert b"CANARY" in data
    return data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_no_text_of_a_photograph_survives_in_any_byte(form: str) -> None:
    prepared = prepare(with_texts(form))
    outputs = [prepared.dicom, prepared.thumbnail, original(prepared.dicom)[0]]
    for output in outputs:
        for needle in (CANARY, "CANARY", "Jane"):
            assert needle.encode() not in output
            assert needle.encode("utf-16-le") not in output
            assert needle.encode("utf-16-be") not in output
        for tail in range(min(len(output), 4096)):
            # Nothing hides in a zlib stream either.
            if output[tail : tail + 1] == b"\x78":
                try:
                    unfolded = zlib.decompressobj().decompress(output[tail:], 1_000_000)
                except zlib.error:
                    continue
                assert b"CANARY" not in unfolded
    assert "CANARY" not in repr(prepared.notes)
    assert np.array_equal(decoded(outputs[2]), decoded(with_texts(form)))


def test_the_same_file_in_the_same_study_has_the_same_uid_and_nowhere_else() -> None:
    from dataclasses import replace

    data = encode(cells(), "PNG")
    first = prepare(data)
    assert prepare(data).sop_instance_uid == first.sop_instance_uid
    others = [
        prepare_arrival(data, context=replace(CONTEXT, patient_code="P-OTHER"), limits=LIMITS),
        prepare_arrival(data, context=replace(CONTEXT, uid_key=b"another secret...."), limits=LIMITS),
        prepare(encode(cells(seed=2), "PNG")),
    ]
    assert first.sop_instance_uid not in {other.sop_instance_uid for other in others}


def test_a_photograph_states_what_its_receiver_knows_and_no_more() -> None:
    dataset = dcmread(BytesIO(prepare(encode(cells(), "JPEG")).dicom))
    assert dataset.preamble == bytes(128)
    assert dataset.PatientID == "P-7KQ2"
    assert dataset.PatientSex == "F"
    assert dataset.PatientAge == "046Y"
    assert dataset.StudyDate == ""
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.get("PatientBirthDate") in (None, "")
    assert dataset.Modality == "GM"
    assert dataset.SOPClassUID.name == "VL Microscopic Image Storage"


def test_the_thumbnail_is_small_and_of_the_whole_picture() -> None:
    prepared = prepare(encode(cells(600, 800), "JPEG"))
    with Image.open(BytesIO(prepared.thumbnail)) as image:
        assert image.format == "WEBP"
        assert image.size == (256, 192)
        small = np.asarray(image.convert("RGB")).astype(int)
    expected = np.asarray(Image.fromarray(cells(600, 800)).resize((256, 192), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - expected).mean() < 8


SMEARS = SHARED_DATA / "blood" / "bccd" / "images"


@pytest.mark.skipif(not SMEARS.is_dir(), reason="the shared data are not here")
def test_real_smears_are_kept_byte_for_byte() -> None:
    paths = sorted(SMEARS.glob("*.jpg"))[::10]
    assert len(paths) >= 10
    for path in paths:
        data = path.read_bytes()
        prepared = prepare(data)
        assert prepared.transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
        assert np.array_equal(read_frame(prepared.dicom), decoded(data))


ODD_TIFFS = SHARED_DATA / "slides" / "large_image"


@pytest.mark.skipif(not ODD_TIFFS.is_dir(), reason="the shared data are not here")
def test_odd_and_broken_images_are_taken_or_refused_with_a_reason() -> None:
    outcomes: set[str] = set()
    for path in sorted(path for path in ODD_TIFFS.rglob("*") if path.is_file() and path.stat().st_size < 40_000):
        try:
            outcomes.add(prepare(path.read_bytes()).kind)
        except Unacceptable as refused:
            outcomes.add(refused.reason)
    assert "photograph" in outcomes
