# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medhub.errors import Invalid
from medhub.science.inference.preprocessing import Preprocessing, resize
from medhub.science.learning.dataset import labels_of, load_images, part_of, read_split


def _split(folder: Path, *lines: str, head: str = "path,label,group,split") -> Path:
    path = folder / "split.csv"
    path.write_text("\n".join((head, *lines)) + "\n")
    return path


def test_a_split_is_read_by_part_and_its_labels_by_name(tmp_path: Path) -> None:
    rows = read_split(_split(tmp_path, "a.png,zebra,1,train", "b.png,ant,2,test", "c.png,ant,3,val"))
    assert labels_of(rows) == ("ant", "zebra")
    assert [row.path for row in part_of(rows, "test")] == ["b.png"]


def test_a_group_in_two_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match='group "donor 1"'):
        read_split(_split(tmp_path, "a.png,x,donor 1,train", "b.png,x,donor 1,test"))


def test_a_split_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="group"):
        read_split(_split(tmp_path, "a.png,x,train", head="path,label,split"))
    with pytest.raises(Invalid, match="no split file"):
        read_split(tmp_path / "none.csv")


def test_images_are_resized_as_serving_resizes_them(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    rows = read_split(_split(tmp_path, "a.png,x,1,train", "a.png,y,1,train"))
    preprocessing = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1))
    loaded = load_images(tmp_path, rows, ("x", "y"), preprocessing)
    np.testing.assert_array_equal(loaded.images[0], resize(image, preprocessing))
    assert loaded.targets.tolist() == [0, 1]
