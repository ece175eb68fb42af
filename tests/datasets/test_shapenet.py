import json
import re

import numpy as np
import pytest
import torch

from pcsargmax.datasets import ShapeNetH5
from pcsargmax.datasets.shapenet import SHAPENET_CATEGORIES, h5_files
from pcsargmax.io.axes import parse_axes

h5py = pytest.importorskip("h5py")


def write(path, labels, *, points=5, seed=0) -> np.ndarray:
    """A file as the collection has them: data (M, N, 3) float32, label (M, 1)."""
    data = np.random.default_rng(seed).normal(size=(len(labels), points, 3)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = data, np.array(labels, dtype=np.int64)[:, None]
    return data


@pytest.fixture
def root(tmp_path):
    """Airplanes (0), mugs (35) and a bag (1) in four files of three splits; only train0 has names beside it."""
    write(tmp_path / "train0.h5", [0, 35, 0], seed=0)
    write(tmp_path / "train1.h5", [35], seed=1)
    write(tmp_path / "val0.h5", [35, 1], seed=2)
    write(tmp_path / "test0.h5", [0], seed=3)
    (tmp_path / "train0_id2name.json").write_text(json.dumps(["airplane", "mug", "airplane"]))
    files = ["02691156/a1.txt", "03797390/m1.txt", "02691156/a2.txt"]
    (tmp_path / "train0_id2file.json").write_text(json.dumps(files))
    return tmp_path


def test_labels_number_the_categories_in_alphabetical_order():
    assert len(SHAPENET_CATEGORIES) == 55
    assert list(SHAPENET_CATEGORIES) == sorted(SHAPENET_CATEGORIES)
    assert SHAPENET_CATEGORIES[35] == "mug"


def test_a_category_of_a_split_is_read_as_it_is_stored(root):
    mugs = ShapeNetH5(root, "mug", "train")
    assert len(mugs) == 2
    with h5py.File(root / "train0.h5") as file:
        expected = file["data"][1]
    np.testing.assert_array_equal(mugs[0].pos.numpy(), expected.astype(np.float64))
    assert mugs[0].pos.dtype == torch.float64
    assert (mugs[0].model_id, mugs[0].category, mugs[0].class_id) == ("m1", "mug", "03797390")
    assert (mugs[1].model_id, mugs[1].category, mugs[1].class_id) == ("train1-0", "mug", "35")
    assert (mugs.num_keypoints, mugs.keypoint_names) == (0, ())
    assert repr(mugs) == "ShapeNetH5(mug, 2 models)"


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("val", 1), ("trainval", 3), ("all", 3)])
def test_splits_are_the_beginnings_of_the_names(root, split, count):
    assert len(ShapeNetH5(root, "mug", split)) == count
    assert len(ShapeNetH5(root, 35, split)) == count


def test_one_file_is_enough(root):
    assert len(ShapeNetH5(root / "val0.h5", "bag", "val")) == 1
    assert h5_files(root / "val0.h5") == [root / "val0.h5"]
    assert h5_files(root / "train0_id2name.json") == []


def test_axes_are_permuted_and_reversed(root):
    own, turned = ShapeNetH5(root, "mug")[0].pos, ShapeNetH5(root, "mug", axes="-zyx")[0].pos
    x, y, z = own.T
    assert torch.equal(turned, torch.stack([-z, y, x], dim=1))
    assert parse_axes("xyz") == ((0, 1), (1, 1), (2, 1))
    assert parse_axes("-zyx") == ((2, -1), (1, 1), (0, 1))


def test_progress_counts_files(root):
    seen = []
    ShapeNetH5(root, "mug", progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


def test_an_unknown_category_is_told_what_there_is(root):
    with pytest.raises(ValueError, match=r"category: expected one of airplane, mug .* got 'teapot'"):
        ShapeNetH5(root, "teapot")


def test_an_unknown_split_is_told(root):
    with pytest.raises(ValueError, match="split: expected one of train, val, test, trainval, all, got 'dev'"):
        ShapeNetH5(root, "mug", "dev")


def test_missing_files_are_told(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder or file"):
        ShapeNetH5(tmp_path / "nowhere", "mug")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no \.h5 files in"):
        ShapeNetH5(tmp_path / "empty", "mug")
    (root / "test0.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \.h5 file of split 'test'"):
        ShapeNetH5(root, "mug", "test")


def broken_file(path, **content):
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            file[name] = value


BROKEN = {
    "expected an HDF5 file with the arrays data and label": {"data": np.zeros((1, 5, 3), np.float32)},
    "data: expected floating (M, N, 3), got float32 (1, 5, 2)": {
        "data": np.zeros((1, 5, 2), np.float32),
        "label": np.zeros((1, 1), np.int64),
    },
    "label: expected 1 integers, got int64 (2,)": {
        "data": np.zeros((1, 5, 3), np.float32),
        "label": np.zeros((2, 1), np.int64),
    },
    "row 0: expected finite coordinates": {
        "data": np.full((1, 5, 3), np.nan, np.float32),
        "label": np.full((1, 1), 35),
    },
}


@pytest.mark.parametrize("message", BROKEN)
def test_malformed_arrays_are_named_with_their_file(tmp_path, message):
    broken_file(tmp_path / "train0.h5", **BROKEN[message])
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        ShapeNetH5(tmp_path, "mug")
    assert str(tmp_path / "train0.h5") in str(caught.value)


def test_a_file_that_is_no_hdf5_is_named(tmp_path):
    (tmp_path / "train0.h5").write_text("no")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "train0.h5"))):
        ShapeNetH5(tmp_path, "mug")


@pytest.mark.parametrize("text", ["{", '["mug"]', "[1, 2, 3]"])
def test_malformed_names_are_named_with_their_file(root, text):
    (root / "train0_id2name.json").write_text(text)
    with pytest.raises(ValueError, match=r"train0_id2name\.json: "):
        ShapeNetH5(root, "mug")
