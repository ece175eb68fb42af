import re
import shutil

import numpy as np
import pytest
from PIL import Image

from pcsargmax.datasets.images.folder import FACE_68_PAIRS, ImageFolder, read_flip_pairs
from pcsargmax.datasets.images.item import can_flip, flip_order
from pcsargmax.transforms.crop import Crop

HEADER = "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y\n"


def picture(path, number: int = 0, size: tuple[int, int] = (8, 10)):
    """A grey image, all of one number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, number, np.uint8)).save(path)


def row(file: str, number: int) -> str:
    return f"{file},2,{number % 8},6,3,4,5\n"


def single(root, number: int = 10, table: str = "points.csv", folder: str = "."):
    """A folder with one table of `number` images a0.png, ..., each of its own grey."""
    for n in range(number):
        picture(root / folder / f"a{n}.png", n)
    (root / table).write_text(HEADER + "".join(row(f"a{n}.png", n) for n in range(number)))
    return root


def pair(root, *, val: bool = False):
    """Tables train.csv (10), test.csv (4) and perhaps val.csv (2), with their folders."""
    for split, number in {"train": 10, "test": 4, **({"val": 2} if val else {})}.items():
        for n in range(number):
            picture(root / split / f"a{n}.png", n)
        (root / f"{split}.csv").write_text(HEADER + "".join(row(f"a{n}.png", n) for n in range(number)))
    return root


def test_an_item(tmp_path):
    data = ImageFolder(single(tmp_path), "all")
    assert data.keypoint_names == ("left_eye", "right_eye", "nose")
    assert (len(data), data.dimension, data.dropped) == (10, 2, {})
    assert data.names == tuple(f"a{n}.png" for n in range(10))
    item = data[3]
    assert item.name == "a3.png"
    assert item.image.shape == (8, 10, 3)
    assert (item.image == 3).all()
    assert item.keypoints.tolist() == [[2, 3], [6, 3], [4, 5]]
    assert item.visible.all()
    assert item.box.tolist() == [0, 0, 10, 8]
    assert data[-1].name == "a9.png"
    with pytest.raises(IndexError):
        data[10]
    assert [item.name for item in data] == list(data.names)
    assert repr(data) == f"ImageFolder({tmp_path.name}, 10 items, 3 keypoints)"


def test_shares_and_seed_split_one_table(tmp_path):
    root = single(tmp_path)
    parts = {split: ImageFolder(root, split).names for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in parts.items()} == {"train": 7, "val": 1, "test": 2}
    assert sorted(sum(parts.values(), ())) == sorted(ImageFolder(root, "all").names)
    assert set(ImageFolder(root, "trainval").names) == {*parts["train"], *parts["val"]}
    assert ImageFolder(root, "train").names == parts["train"]
    assert ImageFolder(root, "train", split_seed=1).names != parts["train"]
    assert len(ImageFolder(root, "test", shares=(0.5, 0, 0.5))) == 5
    with pytest.raises(ValueError, match=r"split: 'val' has no row of points\.csv in .* \(shares \(1, 0, 1\)\)"):
        ImageFolder(root, "val", shares=(1, 0, 1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("splits.csv", "file,split\na0.png,train\na1,train\nx/a2.png,test\na3.png,test\n"),
        ("splits.json", '{"train": ["a0.png", "a1.png"], "test": ["a2.png", "a3.png"]}'),
    ],
)
def test_a_split_file(tmp_path, name, text):
    root = single(tmp_path, 4)
    (root / name).write_text(text)
    assert ImageFolder(root, "train").names == ("a0.png", "a1.png")
    assert ImageFolder(root, "test").names == ("a2.png", "a3.png")
    with pytest.raises(ValueError, match="split: 'val' has no row"):
        ImageFolder(root, "val")


def test_what_a_split_file_and_a_table_do_not_share_is_said(tmp_path):
    root = single(tmp_path, 4)
    (root / "splits.csv").write_text("file,split\na0.png,train\nb7.png,train\na2.png,test\n")
    with pytest.warns(UserWarning, match="have no row in|are in no split") as said:
        ImageFolder(root, "train")
    texts = [str(warning.message) for warning in said]
    assert len(texts) == 2
    assert re.search(r"1 \(b7\) of split 'train' \(.*splits\.csv\) have no row in points\.csv", texts[0])
    assert re.search(r"2 \(a1\.png, a3\.png\) are in no split of", texts[1])


def test_a_split_file_cannot_tell_two_images_of_one_name(tmp_path):
    for file in ("a/1.png", "b/1.png"):
        picture(tmp_path / file)
    (tmp_path / "points.csv").write_text(HEADER + row("a/1.png", 1) + row("b/1.png", 1))
    assert ImageFolder(tmp_path, "all").names == ("a/1.png", "b/1.png")
    (tmp_path / "splits.csv").write_text("file,split\n1.png,train\n")
    with pytest.raises(ValueError, match=r"points\.csv:3: 'b/1\.png' and 'a/1\.png' have one name in .*splits\.csv"):
        ImageFolder(tmp_path, "train")


def test_a_table_for_each_split(tmp_path):
    root = pair(tmp_path)
    data = {split: ImageFolder(root, split) for split in ("train", "val", "test", "trainval", "all")}
    # val is 1/8 of the ten, as 0.1 against 0.7
    assert {split: len(its) for split, its in data.items()} == {
        "train": 9,
        "val": 1,
        "test": 4,
        "trainval": 10,
        "all": 14,
    }
    assert data["test"].names == tuple(f"test/a{n}.png" for n in range(4))
    assert data["trainval"].names == tuple(f"train/a{n}.png" for n in range(10))
    assert {*data["train"].names, *data["val"].names} == {*data["trainval"].names}
    assert (data["test"][2].image == 2).all()
    assert len(ImageFolder(root, "val", shares=(1, 1, 0))) == 5
    with pytest.raises(ValueError, match="shares: expected three numbers"):
        ImageFolder(root, "val", shares=(1, -1, 0))


def test_a_table_of_val(tmp_path):
    root = pair(tmp_path, val=True)
    assert ImageFolder(root, "val").names == ("val/a0.png", "val/a1.png")
    assert (len(ImageFolder(root, "train")), len(ImageFolder(root, "trainval"))) == (10, 12)


@pytest.mark.parametrize(("table", "folder"), [("marks.csv", "."), ("points.csv", "images"), ("marks.csv", "marks")])
def test_where_the_images_of_one_table_are(tmp_path, table, folder):
    root = single(tmp_path, 3, table, folder)
    (root / "notes.csv").write_text("who,when\nme,today\n")
    names = ImageFolder(root, "all").names
    assert names == tuple(f"a{n}.png" if folder == "." else f"{folder}/a{n}.png" for n in range(3))


def test_several_objects_of_an_image(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "points.csv").write_text(
        "file,x,y,width,height,x0,y0,who\na.png,0,0,5,8,1,2,me\nb.png,0,0,9,8,3,4,\na.png,5,0,5,8,6,7,you\n"
    )
    data = ImageFolder(tmp_path, "all")
    assert data.names == ("a.png", "b.png", "a.png#2")
    assert data[2].box.tolist() == [5, 0, 5, 8]
    assert data[2].extra == {"who": "you"}
    for seed in range(5):  # an image is in one split
        names = ImageFolder(tmp_path, "train", shares=(1, 0, 1), split_seed=seed).names
        assert set(names) in ({"a.png", "a.png#2"}, {"b.png"})


def test_a_box_outside_its_image(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "points.csv").write_text("file,x,y,width,height,x0,y0\na.png,10,0,5,8,9,2\n")
    with pytest.raises(ValueError, match=r"points\.csv:2: a\.png: box: \(10, 0, 5, 8\) .* lies outside the image"):
        ImageFolder(tmp_path, "all")[0]


def test_points_of_images_of_another_size(tmp_path):
    table, text = tmp_path / "points.csv", HEADER + "".join(f"a{n}.png,20,3,60,30,40,5\n" for n in range(3))
    single(tmp_path, 3)
    table.write_text(text)
    with pytest.warns(UserWarning, match=r"9 of the first 9 points lie outside their image: are they of"):
        ImageFolder(tmp_path, "all")
    table.write_text(text.replace("20,3", "2,3").replace("40,5", "9.5,7.5"))  # one of three, and one on the edge
    assert len(ImageFolder(tmp_path, "all")) == 3
    for n in range(3):  # turned, they are 8 wide and 10 high
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.zeros((8, 10), np.uint8)).save(tmp_path / f"a{n}.png", exif=exif)
    table.write_text(HEADER + "".join(f"a{n}.png,7,9,7,9,7,9\n" for n in range(3)))
    assert len(ImageFolder(tmp_path, "all")) == 3
    table.write_text(HEADER + "".join(f"a{n}.png,9,7,9,7,9,7\n" for n in range(3)))
    with pytest.warns(UserWarning, match="9 of the first 9 points"):
        ImageFolder(tmp_path, "all")


def test_rows_without_points_are_counted(tmp_path):
    root = single(tmp_path, 3)
    with (root / "points.csv").open("a") as file:
        file.write("b.png,,,,,,\n")
    picture(root / "b.png")
    with pytest.warns(UserWarning, match=r"1 \(b\.png\) of split 'all' have no point and were left out"):
        data = ImageFolder(root, "all")
    assert data.dropped == {"without any point": 1}
    assert len(data) == len(data.names) == 3
    (root / "points.csv").write_text(HEADER + "b.png,,,,,,\n")
    with pytest.raises(ValueError, match="split: 'all' holds no image with points"):
        ImageFolder(root, "all")


def test_absent_points(tmp_path):
    root = single(tmp_path, 1)
    (root / "points.csv").write_text(HEADER + "a0.png,1,2,,,4,5\n")
    item = ImageFolder(root, "all")[0]
    assert item.visible.tolist() == [True, False, True]
    assert np.isnan(item.keypoints[1]).all()


def test_images_without_a_row_are_counted(tmp_path):
    root = single(tmp_path, 3)
    for name in ("b.png", "c.JPG", ".hidden.png"):
        picture(root / "keep.png")
        (root / "keep.png").rename(root / name)
    with pytest.warns(UserWarning, match=r"2 \(b\.png, c\.JPG\) have no row in a table"):
        ImageFolder(root, "train")


def test_missing_images_are_named(tmp_path):
    root = pair(tmp_path)
    (root / "test" / "a1.png").unlink()
    ImageFolder(root, "train")
    with pytest.raises(FileNotFoundError, match=r"test\.csv:3: no such image: .*test/a1\.png$"):
        ImageFolder(root, "test")
    data = ImageFolder(root, "trainval")
    (root / "train" / "a0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"no such image: .*train/a0\.png"):
        data[0]
    shutil.rmtree(root / "train")
    with pytest.raises(FileNotFoundError, match=r"train\.csv:2: no such image: .*a0\.png, nor are 9 more of split"):
        ImageFolder(root, "trainval")


def test_a_broken_image_is_named(tmp_path):
    root = single(tmp_path, 2)
    (root / "a1.png").write_text("no image")
    data = ImageFolder(root, "all")
    assert data[0].name == "a0.png"
    with pytest.raises(ValueError, match=r"a1\.png: not an image"):
        data[1]


def test_folders_without_a_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"root: no such folder: /.*gone"):
        ImageFolder(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"no table of points in /.*: expected train.csv and test.csv, or poin"):
        ImageFolder(tmp_path)
    for name in ("a.csv", "b.csv"):
        single(tmp_path, 1, name)
    with pytest.raises(ValueError, match=r"expected one table of points, or train.csv and test.csv, got a.csv, b.csv"):
        ImageFolder(tmp_path)
    with pytest.raises(ValueError, match=r"split: expected one of \['train', .*'all'\], got 'dev'"):
        ImageFolder(tmp_path, "dev")


def test_a_split_without_a_table(tmp_path):
    root = pair(tmp_path)
    (root / "test.csv").unlink()
    with pytest.raises(ValueError, match=r"split: 'test' has no row of train\.csv in"):
        ImageFolder(root, "test")


def test_tables_of_unlike_keypoints(tmp_path):
    root = pair(tmp_path)
    (root / "test.csv").write_text("file,nose_x,nose_y,tail_x,tail_y\na0.png,1,2,3,4\n")
    with pytest.raises(ValueError, match=r"test\.csv:1: expected the keypoints of .*train\.csv, differing: left_eye, "):
        ImageFolder(root, "train")


def test_an_image_in_two_splits(tmp_path):
    root = pair(tmp_path)
    shutil.rmtree(root / "test")
    with (root / "train.csv").open("a") as file:
        file.write(row("shared.png", 1))
    (root / "test.csv").write_text(HEADER + row("shared.png", 1))
    picture(root / "shared.png")
    with pytest.raises(ValueError, match=r"test\.csv:2: 'shared\.png' is in .*train\.csv:12 already, of split 'train'"):
        ImageFolder(root, "train")


@pytest.mark.parametrize(
    ("names", "pairs", "known"),
    [
        (("left_eye", "nose", "right_eye"), ((0, 2),), True),
        (("RightEar", "LeftEar", "eye left", "eye right"), ((0, 1), (2, 3)), True),
        (("a", "b"), (), False),
        (("left_eye", "right_eye", "left_ear"), ((0, 1),), False),
        (("left_eye", "nose"), (), False),
        (tuple(str(n) for n in range(5)), (), False),
        (tuple(str(n) for n in range(68)), FACE_68_PAIRS, True),
    ],
)
def test_which_keypoints_change_places(tmp_path, names, pairs, known):
    picture(tmp_path / "a.png")
    columns = ",".join(f"{name}_{axis}" for name in names for axis in "xy")
    (tmp_path / "points.csv").write_text(f"file,{columns}\na.png{',3,4' * len(names)}\n")
    data = ImageFolder(tmp_path, "all")
    assert data.flip_pairs == pairs
    assert can_flip(data) is known
    flip_order(len(names), data.flip_pairs)


def test_a_file_of_flip_pairs(tmp_path):
    root = single(tmp_path, 1)
    (root / "flip_pairs.txt").write_text("# which\n\nnose , left_eye\n")
    data = ImageFolder(root, "all")
    assert data.flip_pairs == ((2, 0),)
    assert data.can_flip
    (root / "flip_pairs.txt").write_text("")
    data = ImageFolder(root, "all")
    assert data.flip_pairs == ()
    assert data.can_flip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\na\n", r"flip_pairs\.txt:2: expected two keypoints, NAME,NAME, of \['a', 'b', 'c'\], got 'a'"),
        ("a,d\n", r"flip_pairs\.txt:1: expected two keypoints, .* got 'a,d'"),
        ("a,b\nb,c\n", r"flip_pairs\.txt:2: a keypoint of 'b,c' comes twice"),
        ("a,a\n", r"flip_pairs\.txt:1: a keypoint of 'a,a' comes twice"),
    ],
)
def test_mistakes_in_flip_pairs(tmp_path, text, message):
    path = tmp_path / "flip_pairs.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_flip_pairs(path, ("a", "b", "c"))


def test_real_faces(shared_data):
    root = shared_data / "faces"
    if not root.is_dir():
        pytest.skip(f"the faces are not here ({root})")
    train, val, test = (ImageFolder(root, split) for split in ("trainval", "val", "test"))
    assert (len(train), len(val), len(test)) == (654, 82, 219)
    item = test[0]
    assert item.image.shape == (96, 96, 3)
    assert item.keypoints.shape == (68, 2)
    # mirrored faces look like faces: the mean shape is nearly its own mirror, with the pairs in each other's place
    mean = np.nanmean([row.points for row in train._rows], axis=0)
    crop = Crop.around((0, 0, 96, 96), (96, 96), padding=1, flip=True)
    other = crop.to_input(mean)[flip_order(68, train.flip_pairs)]
    assert np.abs(other - mean).max() < 4
    assert np.abs(crop.to_input(mean) - mean).max() > 60
