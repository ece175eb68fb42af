import pytest

from pcsargmax.datasets import KeypointNet, LandmarkFolder
from pcsargmax.runs.sources import dense_pool, open_dataset
from pcsargmax.settings.detector import TrainSettings
from pcsargmax.settings.discovery import DiscoverSettings


def test_a_category_or_a_folder_is_opened_by_what_data_names(box_settings, landmark_root):
    category = open_dataset(box_settings(ids=(4, 0)), "train")
    assert isinstance(category, KeypointNet)
    assert (len(category), category.keypoint_names) == (7, ("4", "0"))
    folder = open_dataset(TrainSettings(data=str(landmark_root), num_points=90), "test")
    assert isinstance(folder, LandmarkFolder)
    assert len(folder) == 2
    assert folder[0].pos.shape == (90, 3)
    assert folder.keypoint_names == ("back", "left", "right")


def test_dense_points_are_taken_where_something_looks_at_them(look_settings, landmark_root, box_settings):
    plain, twice = look_settings(looks=1), look_settings()
    assert (dense_pool(plain), dense_pool(plain, copies=2)) == (0, 4 * 60)
    assert (dense_pool(twice), dense_pool(twice, copies=2)) == (4 * 60, 4 * 60)
    assert dense_pool(DiscoverSettings(data=str(landmark_root)), copies=2) == 0
    assert "dense_pos" not in open_dataset(plain, "test")[0]
    for dataset in (open_dataset(plain, "test", copies=2), open_dataset(twice, "test")):
        assert dataset[0].dense_pos.shape == (240, 3)
    assert "dense_pos" not in open_dataset(box_settings(looks=2), "test", copies=2)[0]


def test_semantic_ids_of_a_landmark_folder_are_an_error(landmark_root):
    with pytest.raises(ValueError, match="ids are for KeypointNet's semantic ids"):
        open_dataset(TrainSettings(data=str(landmark_root), ids=(0, 1, 2)), "train")


def test_progress_is_reported_while_files_are_read(box_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path))
    seen = []
    open_dataset(box_settings(), "train", lambda done, total: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]
