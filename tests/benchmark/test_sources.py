import shutil
import threading

import pytest

from pcsargmax.benchmark import sources
from pcsargmax.benchmark.sources import Source, data_hash, named_sources, procedural_sources
from pcsargmax.datasets import KeypointNet


def test_a_category_is_known_by_its_name(box_root):
    assert named_sources(["box"], str(box_root)) == [Source("box", "box", str(box_root))]


def test_a_folder_is_known_by_its_last_part(landmark_root, tmp_path):
    named = tmp_path / "my scans (1)"
    named.symlink_to(landmark_root)
    (found,) = named_sources([f"{named.parent}/./{named.name}/"])
    assert found.name == "my_scans_1"
    assert found.data == f"{named.parent}/./{named.name}/"
    copied = tmp_path / "teeth, upper"
    copied.mkdir()
    assert named_sources([str(copied)])[0].name == "teeth_upper"


def test_data_that_are_not_there_are_named(box_root):
    with pytest.raises(ValueError, match=r"category 'sphere' is not annotated in .*, which has: box"):
        named_sources(["box", "sphere"], str(box_root))


def test_two_data_of_one_name_are_refused(tmp_path):
    for place in "ab":
        (tmp_path / place / "scans").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"data must differ in their names, .* got scans twice"):
        named_sources([str(tmp_path / place / "scans") for place in "ab"])


def test_procedural_categories_are_made_once(tmp_path, monkeypatch):
    made = procedural_sources(tmp_path, ["mug", "chair", "mug"], models=10)
    root = tmp_path / "procedural-10"
    assert made == [
        Source("procedural10-mug", "mug", str(root)),
        Source("procedural10-chair", "chair", str(root)),
    ]
    assert [len(KeypointNet(root, "mug", split)) for split in ("train", "val", "test")] == [7, 1, 2]
    before = (root / "annotations" / "mug.json").stat().st_mtime_ns
    assert procedural_sources(tmp_path, ["mug"], models=10) == made[:1]
    assert (root / "annotations" / "mug.json").stat().st_mtime_ns == before


def test_they_are_the_same_wherever_they_are_made(tmp_path):
    for place in "ab":
        procedural_sources(tmp_path / place, ["mug"], models=3)
    a, b = (tmp_path / place / "procedural-3" for place in "ab")
    files = sorted(path.relative_to(a) for path in a.rglob("*") if path.is_file())
    assert len(files) == 8  # annotations, marker, three splits, three clouds
    assert all((a / file).read_bytes() == (b / file).read_bytes() for file in files)


def test_two_at_once_make_them_once(tmp_path, monkeypatch):
    import pcsargmax.datasets

    calls, make = [], pcsargmax.datasets.make_procedural
    monkeypatch.setattr(pcsargmax.datasets, "make_procedural", lambda *a, **k: (calls.append(a[1]), make(*a, **k)))
    threads = [
        threading.Thread(target=procedural_sources, args=(tmp_path, ["mug"]), kwargs={"models": 3}) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [["mug"]]


def test_the_usual_number_of_shapes_is_not_in_the_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PROCEDURAL_MODELS", 4)
    assert procedural_sources(tmp_path, ["mug"], models=4)[0].name == "procedural-mug"


def test_without_names_all_categories_are_made(tmp_path):
    names = [source.data for source in procedural_sources(tmp_path, models=3)]
    assert names == ["airplane", "chair", "table", "mug"]


def test_an_unknown_procedural_category_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"categories must be some of airplane, .*boat"):
        procedural_sources(tmp_path, ["boat"], models=3)


def test_the_hash_is_of_what_the_data_are(box_root, tmp_path):
    root = shutil.copytree(box_root, tmp_path / "copy")
    found = data_hash("box", str(box_root))
    assert data_hash("box", str(root)) == found
    train = root / "splits" / "train.txt"
    train.write_text(f"{train.read_text()}99999999-of-another-category\n")
    assert data_hash("box", str(root)) == found
    train.write_text("\n".join(train.read_text().splitlines()[1:]))
    assert data_hash("box", str(root)) != found
    annotations = root / "annotations" / "box.json"
    train.write_text((box_root / "splits" / "train.txt").read_text())
    assert data_hash("box", str(root)) == found
    annotations.write_text(annotations.read_text().replace('"semantic_id": 4', '"semantic_id": 5', 1))
    assert data_hash("box", str(root)) != found
    assert data_hash("sphere", str(root)) is None


def test_the_hash_of_a_folder_is_of_its_files(landmark_root, tmp_path):
    folder = shutil.copytree(landmark_root, tmp_path / "copy")
    found = data_hash(str(landmark_root), "")
    assert data_hash(str(folder), "") == found
    (folder / ".hidden").write_text("")
    assert data_hash(str(folder), "") == found
    (folder / "more.txt").write_text("")
    assert data_hash(str(folder), "") != found


def test_the_hash_of_large_files_is_of_their_size(tmp_path):
    (tmp_path / "train0.h5").write_bytes(b"a" * 9)
    found = data_hash("mug", str(tmp_path))
    (tmp_path / "train0.h5").write_bytes(b"b" * 9)
    assert data_hash("mug", str(tmp_path)) == found
    (tmp_path / "train0.h5").write_bytes(b"b" * 10)
    assert data_hash("mug", str(tmp_path)) != found
