import pytest
from torch_geometric.data import Data

from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.splits import open_splits

SHAPES = {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"]}


class Named(list):
    def __init__(self, split: str) -> None:
        super().__init__(Data(model_id=name) for name in SHAPES[split])


def test_splits_are_opened_with_the_names_of_their_shapes():
    splits = open_splits(TrainSettings(data="box"), Named)
    assert (splits.trained_on, splits.chosen_by) == (["a", "b"], ["c"])
    assert len(splits.training) == 2
    assert len(splits.validation) == 1


def test_no_validation_split_is_opened_where_there_is_to_be_none():
    splits = open_splits(TrainSettings(data="box", train_split="trainval", val_split="none"), Named)
    assert splits.validation is None
    assert (splits.trained_on, splits.chosen_by) == (["a", "b", "c"], [])


def test_splits_that_share_shapes_are_refused():
    with pytest.raises(ValueError, match="val_split 'val' and train_split 'trainval' share 1 shapes; train on 'train'"):
        open_splits(TrainSettings(data="box", train_split="trainval"), Named)
