import pytest

from pcsargmax.runs.image_sources import open_images
from pcsargmax.settings.images import ImageSettings


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"data": "no/such"}, {}, "no/such: no such folder, and not the name of a data set of images"),
        ({"data": "faces"}, {"boxes": "b.json"}, "boxes: expected none for faces, a detector's boxes are for coco"),
    ],
)
def test_data_that_are_not_there(changes, options, message):
    with pytest.raises(ValueError, match=message):
        open_images(ImageSettings(**changes), "train", **options)


def test_every_name_is_opened(dot_root, few_slices):
    assert open_images(ImageSettings(data=str(dot_root)), "train").keypoint_names == ("left_eye", "right_eye", "nose")
    names = ("figures", "figures3d", "faces")
    drawn = {name: open_images(ImageSettings(data=name, size=(64, 32)), "test") for name in names}
    assert [data.dimension for data in drawn.values()] == [2, 3, 2]
    assert drawn["faces"][0].image.shape == (64, 32, 3)
    assert open_images(ImageSettings(data="slices", size=(64, 32)), "val")[0].image.shape == (64, 32)
    for name in ("coco", "h36m", "mtfl", "retina"):
        with pytest.raises(FileNotFoundError, match=str(dot_root)):
            open_images(ImageSettings(data=name, root=str(dot_root)), "train")
