import json

import numpy as np
import pytest
from PIL import Image

from pcsargmax.datasets.images.item import SurfaceItem
from pcsargmax.datasets.images.mshc import MSHC_SPLITS, MSHC_SURFACES, Mshc

WIDTH, HEIGHT = 16, 12


def name(subject, number):
    return f"{subject}_spectralis_macula_v1_s1_R_{number}"


def write(root, subject, number, rows=None, **more):
    """A slice in the layout of the pre-processing: grey PNG, JSON with rows counted from 1."""
    for folder in ("image", "label"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    image = np.full((HEIGHT, WIDTH), 10 * number, dtype=np.uint8)
    image[0, 0] = 200
    Image.fromarray(image).save(root / "image" / f"{name(subject, number)}.png")
    if rows is None:
        rows = [[1 + surface + 0.25] * WIDTH for surface in range(9)]
    (root / "label" / f"{name(subject, number)}.txt").write_text(json.dumps({"bds": rows, **more}))


@pytest.fixture
def root(tmp_path):
    for subject in ("hc01", "hc09", "hc10", "ms12", "ms13", "ms21"):
        for number in (10, 2, 1):
            write(tmp_path, subject, number)
    return tmp_path


def test_splits_are_the_published_ones():
    train, val, trainval, test = (MSHC_SPLITS[split] for split in ("train", "val", "trainval", "test"))
    assert set(trainval) == {*(f"hc{i:02d}" for i in range(9, 15)), *(f"ms{i:02d}" for i in range(13, 22))}
    assert set(test) == {*(f"hc{i:02d}" for i in range(1, 9)), *(f"ms{i:02d}" for i in range(1, 13))}
    assert (len(train), len(val), len(trainval), len(test), len(MSHC_SPLITS["all"])) == (12, 3, 15, 20, 35)
    assert set(train) | set(val) == set(trainval)
    assert not set(trainval) & set(test)


def test_items(root):
    data = Mshc(root, "train")
    assert data.names == tuple(name(subject, number) for subject in ("hc10", "ms21") for number in (1, 2, 10))
    assert len(data) == 6
    assert data.missing == tuple(subject for subject in MSHC_SPLITS["train"] if subject not in ("hc10", "ms21"))
    assert data.surface_names == MSHC_SURFACES
    assert data.micrometres == 3.9
    item = data[1]
    assert isinstance(item, SurfaceItem)
    assert item.image.shape == (HEIGHT, WIDTH)
    assert (item.image[0, 0], item.image[5, 5]) == (200, 20)
    np.testing.assert_allclose(item.surfaces, np.tile(np.arange(9)[:, None] + 0.25, WIDTH))
    assert item.extra == {"subject": 0, "subject_name": "hc10", "slice": 2, "moved": 0}
    assert data[3].extra["subject"] == MSHC_SPLITS["train"].index("ms21")
    assert "6 slices, 10 subjects missing" in repr(data)


@pytest.mark.parametrize(("split", "subjects"), [("val", {"hc09", "ms13"}), ("test", {"hc01", "ms12"})])
def test_subjects_of_the_other_splits(root, split, subjects):
    assert {item.extra["subject_name"] for item in Mshc(root, split)} == subjects
    assert len(Mshc(root, "trainval")) == 12
    assert len(Mshc(root, "all")) == 18


def test_null_is_unknown_and_rows_beyond_the_edge_are_moved_and_counted(tmp_path):
    rows = [[float(1 + surface)] * WIDTH for surface in range(9)]
    rows[3][5] = None
    rows[0][2], rows[8][3] = 0.5, 13.5
    write(tmp_path, "hc10", 1, rows, lesion=[[0]])
    item = Mshc(tmp_path)[0]
    assert np.isnan(item.surfaces).sum() == 1
    assert np.isnan(item.surfaces[3, 5])
    assert (item.surfaces[0, 2], item.surfaces[8, 3]) == (0, HEIGHT - 1)
    assert item.extra["moved"] == 2


def test_other_data_in_this_layout(tmp_path):
    write(tmp_path, "mouse7", 1, [[3] * WIDTH, [5] * WIDTH])
    data = Mshc(tmp_path, subjects=("mouse7",), surface_names=("top", "bottom"), micrometres=None)
    assert data[0].surfaces[:, 0].tolist() == [2, 4]
    assert data.micrometres is None
    assert data.missing == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"bds": [[1, 2', r"_1\.txt:1: not valid JSON"),
        ("[1, 2]", r'_1\.txt: expected .*, got no "bds"'),
        ('{"lesion": []}', r'_1\.txt: expected .*, got no "bds"'),
        ('{"bds": [[1, 2], [3]]}', r'_1\.txt: "bds": expected 9 lists of 16 numbers or nulls'),
        ('{"bds": [["a", 2]]}', r'_1\.txt: "bds": expected 9 lists of 16 numbers or nulls'),
        (json.dumps({"bds": [[1] * 9] * 16}), r'_1\.txt: "bds": expected 9 surfaces of 16 finite rows, got \(16, 9\)'),
        (json.dumps({"bds": [[float("inf")] * 16] * 9}), r'"bds": expected 9 surfaces of 16 finite rows'),
    ],
)
def test_malformed_labels_are_named(tmp_path, content, message):
    write(tmp_path, "hc10", 1)
    (tmp_path / "label" / f"{name('hc10', 1)}.txt").write_text(content)
    data = Mshc(tmp_path)
    with pytest.raises(ValueError, match=message):
        data[0]


def test_what_is_missing_is_named(tmp_path, root):
    with pytest.raises(FileNotFoundError, match=r"root: no such folder: .*nowhere/image"):
        Mshc(root / "nowhere")
    (root / "label" / f"{name('hc10', 2)}.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"hc10_.*_2\.png: its label is missing: .*hc10_.*_2\.txt"):
        Mshc(root, "train")
    assert len(Mshc(root, "test")) == 6  # it concerns its own split alone


def test_a_label_whose_image_is_missing_is_named(root):
    (root / "image" / f"{name('hc10', 2)}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"hc10_.*_2\.txt: its image is missing: .*hc10_.*_2\.png"):
        Mshc(root, "train")
    assert len(Mshc(root, "test")) == 6


def test_other_mistakes(root):
    with pytest.raises(ValueError, match="split must be one of train, val, trainval, test, all, got 'dev'"):
        Mshc(root, "dev")
    with pytest.raises(ValueError, match=r"image: no \.png of any of the subjects xx01"):
        Mshc(root, subjects=("xx01",))
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(root / "image" / "hc10.png")
    with pytest.raises(ValueError, match=r"hc10\.png: expected a name such as hc01_"):
        Mshc(root)


def test_broken_images_are_named(root):
    (root / "image" / f"{name('hc10', 1)}.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"hc10_.*_1\.png: not an image"):
        Mshc(root)[0]
