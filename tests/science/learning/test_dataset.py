# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medhub.errors import Invalid
from medhub.science.inference.preprocessing import Preprocessing, resize
from medhub.science.learning.dataset import digest_of, labels_of, load_images, part_of, read_listing, split_rows
from medhub.science.learning.leakage import find_leaks, perceptual_hash
from medhub.training.labeled_zip import LabeledZipLimits, read_archive
from tests.factories.colors import packed

KEY = b"0123456789abcdef"
PREPROCESSING = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1))


def _picture(path: Path, seed: int = 0, size: tuple[int, int] = (50, 70)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def _listing(folder: Path, *lines: str, head: str = "path,label,group,split", name: str = "list.csv") -> Path:
    for seed, line in enumerate(lines):
        file = folder / line.split(",")[0]
        if line and not file.exists() and ".." not in line and "\x00" not in line:
            _picture(file, seed)
    path = folder / name
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def test_a_listing_is_read_by_part_and_its_labels_by_name(tmp_path: Path) -> None:
    rows = read_listing(_listing(tmp_path, "a.png,zebra,1,train", "b.png,ant,2,test", "c.png,ant,3,val"))
    assert labels_of(rows) == ("ant", "zebra")
    assert [row.name for row in part_of(rows, "test")] == ["b.png"]


def test_group_part_and_source_may_be_left_out(tmp_path: Path) -> None:
    rows = read_listing(_listing(tmp_path, "a.png,x", "b.png,y", head="path,label"))
    assert [(row.group, row.split, row.source) for row in rows] == [("a.png", "", ""), ("b.png", "", "")]
    (row,) = read_listing(_listing(tmp_path, "a.png,x,lab 2", head="path,label,source"))
    assert row.source == "lab 2"


def test_a_folder_for_each_label_is_a_listing_too(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        for index in range(2):
            _picture(tmp_path / label / f"{index}.png", index)
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    rows = read_listing(tmp_path)
    assert [(row.name, row.label) for row in rows] == [
        ("ant/0.png", "ant"),
        ("ant/1.png", "ant"),
        ("bee/0.png", "bee"),
        ("bee/1.png", "bee"),
    ]
    with pytest.raises(Invalid, match="folder for each label"):
        read_listing(tmp_path / "ant")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/ant/1.png", "val/ant/2.png", "test/bee/3.png"], ["ant train", "ant val", "bee test"]),
        (["set/Training/ant/1.png", "set/Test/bee/2.png"], ["ant train", "bee test"]),
        (["ant/train/1.png", "ant/validation/2.png", "bee/test/3.png"], ["ant train", "ant val", "bee test"]),
        (["set/ant/1.png", "set/bee/2.png"], ["ant ", "bee "]),
        (["test/1.png", "control/2.png"], ["test ", "control "]),
        (["Ant/1.png", "ant/2.png", "ant/3.png"], ["ant ", "ant ", "ant "]),
    ],
)
def test_a_folder_and_its_zip_have_the_same_labels_and_parts(
    names: list[str], expected: list[str], tmp_path: Path
) -> None:
    for name in names:
        _picture(tmp_path / name)
    rows = {row.name: f"{row.label} {row.split}" for row in read_listing(tmp_path)}
    assert [rows[name] for name in names] == expected
    files = read_archive(packed(dict.fromkeys(names, b"a")), LabeledZipLimits())
    assert [f"{file.label} {file.part or ''}" for file in files] == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/ant/1.png", "bee/2.png"], "'bee' are not"),
        (["train/1.png", "test/2.png"], "Each needs a folder for each label"),
        (["ant/1.png", "2.png"], "in no folder"),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_refused(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        _picture(tmp_path / name)
    with pytest.raises(Invalid, match=message):
        read_listing(tmp_path)
    with pytest.raises(Invalid, match=message):
        list(read_archive(packed(dict.fromkeys(names, b"a")), LabeledZipLimits()))


def test_an_unpacked_export_is_read_by_its_list(tmp_path: Path) -> None:
    _picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels.csv").write_text("path,label,group,split\nimages/a.png,+,P1,test\n")
    (row,) = read_listing(tmp_path)
    assert (row.label, row.group, row.split) == ("+", "P1", "test")


def test_paths_are_relative_to_the_nearest_folder_that_fits_or_to_the_one_named(tmp_path: Path) -> None:
    _picture(tmp_path / "images" / "a.png")
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "list.csv").write_text("path,label\nimages/a.png,x\n")
    (row,) = read_listing(folder / "list.csv")
    assert row.path == (tmp_path / "images" / "a.png").resolve()
    with pytest.raises(Invalid, match="not there"):
        read_listing(folder / "list.csv", root=folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../secret.png,x,1,train", "leads out"),
        ("a/../../secret.png,x,1,train", "leads out"),
        ("..\\secret.png,x,1,train", "leads out"),
        ("a.png,,1,train", "must not be empty"),
        (",x,1,train", "must not be empty"),
        ("a.png,x,1,exam", "train, val or test"),
        ("missing.png,x,1,train", "not there"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, message: str) -> None:
    _picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text(f"path,label,group,split\n{line}\n")
    with pytest.raises(Invalid, match=message):
        read_listing(tmp_path / "list.csv")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    secret = _picture(tmp_path / "elsewhere" / "secret.png")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").symlink_to(secret)
    (folder / "list.csv").write_text("path,label\na.png,x\n")
    with pytest.raises(Invalid, match="leads out"):
        read_listing(folder / "list.csv", root=folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,group\na.png,1\n", "lacks the columns"),
        (b"", "lacks the columns"),
        (b"path,label\n", "names no image"),
        (b"path,label\na.png,\xff\xfe\n", "UTF-8"),
        (b"path,label\na.png,x\na.png,y\n", "twice"),
    ],
)
def test_a_listing_that_is_none_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    _picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(Invalid, match=message):
        read_listing(tmp_path / "list.csv")


def test_a_group_in_two_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match='group "donor 1"'):
        read_listing(_listing(tmp_path, "a.png,x,donor 1,train", "b.png,x,donor 1,test"))


def _rows(*counts: tuple[str, int]) -> list[str]:
    return [f"{label}{index}.png,{label}" for label, count in counts for index in range(count)]


def test_one_label_and_labels_with_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="two labels"):
        split_rows(read_listing(_listing(tmp_path, *_rows(("x", 5)), head="path,label")), KEY)
    lines = _rows(("x", 5), ("rare", 1))
    with pytest.raises(Invalid, match=r"rare \(1\)"):
        split_rows(read_listing(_listing(tmp_path, *lines, head="path,label")), KEY)


def test_parts_that_lack_a_label_and_half_given_parts_are_refused(tmp_path: Path) -> None:
    lines = [f"{line},{part}" for line, part in zip(_rows(("x", 3), ("y", 3)), ["train"] * 6, strict=True)]
    with pytest.raises(Invalid, match="val has no x"):
        split_rows(read_listing(_listing(tmp_path, *lines, head="path,label,split")), KEY)
    lines[0] = lines[0].replace("train", "")
    with pytest.raises(Invalid, match="1 of 6 images have no split"):
        split_rows(read_listing(_listing(tmp_path, *lines, head="path,label,split")), KEY)


def test_images_without_parts_are_divided_the_same_way_each_time(tmp_path: Path) -> None:
    rows = read_listing(_listing(tmp_path, *_rows(("x", 8), ("y", 8)), head="path,label"))
    first, second = split_rows(rows, KEY), split_rows(rows, KEY)
    assert first == second
    assert {row.split for row in first} == {"train", "val", "test"}


def test_the_digest_names_content_label_and_part_but_not_the_order(tmp_path: Path) -> None:
    rows = read_listing(_listing(tmp_path, "a.png,x,1,train", "b.png,y,2,test"))
    assert digest_of(rows) == digest_of(rows[::-1])
    other = read_listing(_listing(tmp_path, "a.png,x,1,train", "b.png,x,2,test", name="other.csv"))
    assert digest_of(other) != digest_of(rows)


def test_images_are_resized_as_serving_resizes_them(tmp_path: Path) -> None:
    rows = read_listing(_listing(tmp_path, "a.png,x,1,train", "b.png,y,2,train"))
    loaded = load_images(rows, ("x", "y"), PREPROCESSING)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(loaded.images[0], resize(np.asarray(image), PREPROCESSING))
    assert loaded.targets.tolist() == [0, 1]


def test_files_that_are_no_images_are_all_named_and_odd_sizes_are_taken(tmp_path: Path) -> None:
    listing = _listing(tmp_path, "a.png,x", "b.png,y", "c.png,y", head="path,label")
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    assert load_images(read_listing(listing), ("x", "y"), PREPROCESSING).images.shape == (3, 32, 32, 3)
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(Invalid, match=r"2 of 3 files cannot be read as images: b\.png.*c\.png"):
        load_images(read_listing(listing), ("x", "y"), PREPROCESSING)


def test_near_duplicates_are_found_across_parts_only(tmp_path: Path) -> None:
    lines = [f"{index}.png,x,{index},{'train' if index < 20 else 'test'}" for index in range(30)]
    listing = _listing(tmp_path, *lines)
    assert find_leaks(read_listing(listing)) == []
    with Image.open(tmp_path / "3.png") as image:
        darker = image.point([min(255, value * 9 // 10) for value in range(256)] * 3)
        darker.resize((64, 90)).save(tmp_path / "25.jpg", quality=70)
        image.save(tmp_path / "7.png")  # in the same part: no harm
    lines[25] = "25.jpg,x,25,test"
    (parts,) = [leak for leak in find_leaks(read_listing(_listing(tmp_path, *lines))) if leak.first == "3.png"]
    assert (parts.second, parts.first_part, parts.second_part) == ("25.jpg", "train", "test")
    assert parts.correlation > 0.98


def test_the_perceptual_hash_changes_little_with_the_image() -> None:
    chance = np.random.default_rng(0)
    coarse = chance.normal(size=(2, 8, 8)).astype(np.float32)
    images = np.kron(coarse, np.ones((1, 4, 4), np.float32)) * 40 + 128
    same, other = (
        perceptual_hash(images),
        perceptual_hash(images + chance.normal(0, 4, images.shape).astype(np.float32)),
    )
    assert np.bitwise_count(same[0] ^ other[0]) <= 6
    assert np.bitwise_count(same[0] ^ same[1]) >= 16
