import numpy as np
import pytest
from PIL import Image

from pcsargmax.datasets.images.mtfl import Mtfl, read_mtfl


def line(file: str, number: int = 0, attributes: str = "1 2 2 3") -> str:
    """A line as the official files have them: a space before it, six digits, all x before all y."""
    x, y = np.array([10, 30, 20, 12, 28]) + number, [12, 12, 22, 32, 32]
    return " " + " ".join([file, *(f"{value:.6f}" for value in [*x, *y]), attributes]) + "\n"


@pytest.fixture
def root(tmp_path):
    """Twenty images to train, from two folders, three to test, and the official end of a file: a line of one space."""
    lines = {"training.txt": [], "testing.txt": []}
    for n in range(23):
        folder, name = ("lfw_5590", "training.txt") if n < 20 else ("AFLW", "testing.txt")
        path = tmp_path / folder / f"{n:04d}-face.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 44, 3), n, np.uint8)).save(path)
        slash = "\\" if n < 20 else "/"
        lines[name].append(line(f"{folder}{slash}{path.name}", n % 10, f"{1 + n % 2} 1 2 {1 + n % 5}"))
    for name, its in lines.items():
        (tmp_path / name).write_text("".join(its).removeprefix(" ") + " ")
    return tmp_path


def test_an_item(root):
    data = Mtfl(root, "trainval")
    assert data.keypoint_names == ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    assert (data.flip_pairs, data.dimension, data.dropped) == (((0, 1), (3, 4)), 2, {})
    assert len(data) == 20
    item = data[3]
    assert item.name == "lfw_5590/0003-face.jpg"
    assert item.keypoints.tolist() == [[13, 12], [33, 12], [23, 22], [15, 32], [31, 32]]
    assert item.visible.all()
    assert item.box.tolist() == [0, 0, 44, 40]
    assert item.extra == {"gender": 2, "smile": 1, "glasses": 2, "pose": 4}
    assert abs(item.image.astype(int) - 3).max() <= 1
    assert repr(data) == f"Mtfl({root.name}, 20 items)"


def test_splits(root):
    names = {split: Mtfl(root, split, val_share=0.2).names for split in ("train", "val", "test", "all")}
    assert {split: len(its) for split, its in names.items()} == {"train": 16, "val": 4, "test": 3, "all": 23}
    assert sorted(names["train"] + names["val"] + names["test"]) == sorted(names["all"])
    assert names["test"][0] == "AFLW/0020-face.jpg"
    assert Mtfl(root, "val", val_share=0.2, split_seed=1).names != names["val"]
    assert len(Mtfl(root, "train", val_share=0)) == 20
    with pytest.raises(ValueError, match="split: 'val' holds no image"):
        Mtfl(root, "val", val_share=0)


def test_a_box_around_the_landmarks(root):
    item = Mtfl(root, "trainval", box="landmarks")[0]
    # x from 10 to 30, y from 12 to 32: twice 20, about (20, 22), where pixels have an extent of their own
    assert item.box.tolist() == [0.5, 2.5, 40, 40]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "dev"}, r"split: expected one of \['train', 'val', 'test', 'trainval', 'all'\], got 'dev'"),
        ({"box": "face"}, "box: expected 'image' or 'landmarks', got 'face'"),
        ({"val_share": 1}, "val_share: expected a share from 0 to below 1, got 1"),
    ],
)
def test_bad_arguments(root, settings, message):
    with pytest.raises(ValueError, match=message):
        Mtfl(root, **settings)


def test_files_that_are_not_there(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file of the MTFL set: /.*training\.txt"):
        Mtfl(tmp_path / "gone")
    (root / "AFLW" / "0021-face.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"testing\.txt:2: no such image: .*AFLW/0021-face\.jpg$"):
        Mtfl(root, "test")
    (root / "testing.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file of the MTFL set: /.*testing\.txt"):
        Mtfl(root, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 1 2 3\n", r"training\.txt:2: expected a path, 5 x, 5 y and 4 attributes, got 'a.jpg 1 2 3'"),
        (line("a.jpg").replace("22.000000", "nose"), r"training\.txt:2: expected 5 x and 5 y: could not .* 'nose'"),
        (line("a.jpg").replace("22.000000", "nan"), r"training\.txt:2: expected finite coordinates, got 10.000000 30"),
        (line("a.jpg", 0, "1 2 2 6"), r"training\.txt:2: pose: expected a whole number from 1 to 5, got '6'"),
        (line("a.jpg", 0, "1 0 2 3"), r"training\.txt:2: smile: expected a whole number from 1 to 2, got '0'"),
        (line("x\\first.jpg"), r"training\.txt:2: 'x/first\.jpg' is in .*training\.txt:1 already"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, text, message):
    path = tmp_path / "training.txt"
    path.write_text(line("x/first.jpg") + text)
    with pytest.raises(ValueError, match=message):
        read_mtfl(path)


def test_an_empty_file_and_landmarks_without_an_extent(tmp_path):
    path = tmp_path / "training.txt"
    path.write_text(" \n")
    with pytest.raises(ValueError, match=r"training\.txt: expected a line for each image, got none"):
        read_mtfl(path)
    path.write_text("a.jpg" + " 5" * 10 + " 1 1 1 1\n")
    assert len(read_mtfl(path)) == 1
    with pytest.raises(ValueError, match=r"training\.txt:1: all landmarks are in one place, so they give no box"):
        read_mtfl(path, box="landmarks")
