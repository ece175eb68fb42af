import shutil

import numpy as np
import pytest
import torch

from pcsargmax import Grid, soft_argmax
from pcsargmax.datasets.images import ImageItem
from pcsargmax.runs.load import load_run
from pcsargmax.runs.prepare_images import to_tensor
from pcsargmax.transforms.crop import Crop


@pytest.fixture(scope="module")
def run(dot_run):
    return load_run(dot_run)


def test_a_prediction_is_the_expectation_of_the_maps_in_pixels_of_the_image(run):
    item = run.dataset("test")[0]
    boxed = ImageItem("boxed", item.image, item.keypoints, item.visible, np.array([8.0, 4, 40, 50]))
    found = run.predict(boxed)
    crop = Crop.around([8, 4, 40, 50], (64, 64), padding=1.0)
    with torch.inference_mode():
        logits = run.network(to_tensor(crop.image(item.image))[None])
    cells = soft_argmax(logits, Grid((16, 16)))[0]
    np.testing.assert_allclose(found.position, crop.to_image(4 * cells.double().numpy()), atol=1e-4)
    probability = logits.flatten(2).softmax(dim=-1).reshape(3, 16, 16)
    torch.testing.assert_close(torch.from_numpy(found.probability), probability)
    np.testing.assert_allclose(found.confidence, probability.flatten(1).amax(dim=1), rtol=1e-5)
    np.testing.assert_allclose(found.crop.matrix, crop.matrix)
    np.testing.assert_array_equal(found.truth, np.where(item.visible[:, None], item.keypoints, np.nan))
    np.testing.assert_array_equal(found.box, [8, 4, 40, 50])
    # variance of the sites and of the triangular basis, c² / 6, in pixels of the image
    x = torch.arange(16.0).expand(16, 16)
    variance = (probability * (x - cells[:, 0, None, None]).square()).sum(dim=(1, 2)) + 1 / 6
    np.testing.assert_allclose(found.covariance[:, 0, 0], variance * (4 / crop.zoom) ** 2, rtol=1e-3)


def test_an_image_alone_gives_what_it_gives_among_others(run):
    dataset = run.dataset("test")
    items = [dataset[i] for i in range(3)]
    for one, found in zip(items, run.predict_many(items), strict=True):
        np.testing.assert_allclose(run.predict(one).position, found.position, atol=1e-3)


def test_the_flip_test_is_the_mean_of_the_image_and_its_mirror(run):
    item = run.dataset("test")[0]
    mirrored = ImageItem("m", item.image[:, ::-1].copy(), np.full((3, 2), np.nan))
    plain, other, both = run.predict(item), run.predict(mirrored), run.predict(item, flip_test=True)
    swap = [1, 0, 2]
    back = np.column_stack([63 - other.position[swap, 0], other.position[swap, 1]])
    np.testing.assert_allclose(both.position, (plain.position + back) / 2, atol=1e-3)
    np.testing.assert_allclose(both.confidence, (plain.confidence + other.confidence[swap]) / 2, rtol=1e-4)
    np.testing.assert_array_equal(both.probability, plain.probability)


def test_a_run_that_knows_no_pairs_has_no_flip_test(run):
    import dataclasses

    with pytest.raises(ValueError, match=r"flip_test: .* does not say which keypoints change places"):
        dataclasses.replace(run, can_flip=False).predict(run.dataset("test")[0], flip_test=True)


def test_a_file_is_an_image_without_truth(run, dot_root):
    found = run.predict_file(dot_root / "image00.png")
    assert (found.name, found.truth, found.visible) == ("image00.png", None, None)
    part = run.predict_file(dot_root / "image00.png", box=[0, 0, 32, 32])
    np.testing.assert_array_equal(part.box, [0, 0, 32, 32])
    assert not np.allclose(part.position, found.position)
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        run.predict_file(dot_root / "nothing.png")


def test_an_evaluation_counts_every_image(run):
    seen = []
    steps = []
    found = run.evaluate(on_prediction=lambda item, one: seen.append((item, one)), progress=lambda *s: steps.append(s))
    assert (found["kind"], found["split"], found["flip_test"]) == ("image_keypoints", "test", False)
    assert len(seen) == 3
    assert steps == [(1, 3), (2, 3), (3, 3)]
    errors = np.array([one.error for _, one in seen])
    kept = np.array(found["images"]["errors"], dtype=float)
    np.testing.assert_array_equal(kept, np.vectorize(lambda error: float(f"{error:.4g}"))(errors))
    lengths = np.array([np.linalg.norm(item.keypoints[0] - item.keypoints[1]) for item, _ in seen])
    known = ~np.isnan(lengths)
    nme = (np.nanmean(errors, axis=1) / lengths)[known].mean()
    assert found["nme"]["nme"] == pytest.approx(nme, rel=1e-6)
    assert found["length"] == {"name": "inter-ocular", "keypoints": ["left_eye", "right_eye"]}
    assert found["seconds_per_image"] > 0
    assert found["seen_in_training"] == 0
    assert run.evaluate(flip_test=True)["nme"]["nme"] != found["nme"]["nme"]
    assert run.evaluate(thresholds=(0.5,))["pck"].keys() >= {"pck@0.5"}


def test_images_that_were_used_in_training_are_counted(run):
    with pytest.warns(UserWarning, match="images of split 'train' were used in training"):
        assert run.evaluate("train")["seen_in_training"] > 0


def test_predictions_of_a_split_or_its_first_ones(run):
    assert [one.name for one in run.predictions(most=2)] == list(run.dataset("test").names[:2])
    assert len(run.predictions("val")) == len(run.dataset("val"))


def test_data_that_have_moved(run, dot_root, tmp_path):
    moved = shutil.copytree(dot_root, tmp_path / "elsewhere")
    assert run.with_data(moved).settings.data == str(moved)
    assert run.with_data("").settings == run.settings
    text = (moved / "points.csv").read_text().replace("nose", "chin")
    (moved / "points.csv").write_text(text)
    with pytest.raises(ValueError, match=r"expected the keypoints that .* was trained for, left_eye, right_eye, nose"):
        run.with_data(moved).dataset("test")


def test_procedural_data_have_no_folder(slice_run):
    drawn = load_run(slice_run)
    assert drawn.with_data("").settings == drawn.settings
    with pytest.raises(ValueError, match="data: slices is procedural and has no folder, got /data"):
        drawn.with_data("/data")


def test_a_checkpoint_whose_weights_do_not_fit_is_an_error(dot_run, tmp_path):
    content = torch.load(dot_run / "checkpoints" / "best.ckpt", weights_only=True)
    content["pcsargmax"]["keypoint_names"] = ["a", "b"]
    torch.save(content, tmp_path / "broken.ckpt")
    with pytest.raises(ValueError, match=r"broken\.ckpt: a damaged checkpoint: its weights do not fit its settings"):
        load_run(tmp_path / "broken.ckpt")
