import numpy as np
import pytest
import torch

from pcsargmax.runs.load import load_run
from pcsargmax.runs.prepare_images import slice_tensor

pytestmark = pytest.mark.usefixtures("few_slices")


@pytest.fixture(scope="module")
def run(slice_run):
    return load_run(slice_run)


def test_a_prediction_is_the_expectation_of_each_column_in_order(run):
    item = run.dataset("test")[0]
    found = run.predict(item)
    with torch.inference_mode():
        maps = run.network(slice_tensor(item.image)[None]).surfaces.softmax(dim=2)[0].double()  # (S, H, W)
    row = torch.arange(32.0, dtype=torch.float64)[:, None]
    mean = (maps * row).sum(dim=1)
    np.testing.assert_allclose(found.rows, np.maximum.accumulate(mean.numpy(), axis=0), atol=1e-3)
    variance = (maps * (row - mean.unsqueeze(1)).square()).sum(dim=1) + 1 / 6
    np.testing.assert_allclose(found.std, variance.sqrt().numpy(), rtol=1e-3)
    np.testing.assert_array_equal(found.truth, item.surfaces)
    assert (np.diff(found.rows, axis=0) >= 0).all()


def test_an_evaluation_counts_every_slice(run):
    seen, steps = [], []
    found = run.evaluate(on_prediction=lambda _, one: seen.append(one), progress=lambda *step: steps.append(step))
    assert steps[-1] == (4, 4)
    errors = np.array([one.error.mean(axis=1) for one in seen])
    assert found["surfaces"]["mad"] == pytest.approx(errors.mean(), rel=1e-6)
    np.testing.assert_allclose(found["images"]["errors"], errors, rtol=1e-5)
    assert (found["kind"], found["unit"], found["split"]) == ("image_surfaces", "pixels", "test")
    assert found["surfaces"]["num_slices"] == 4
    assert found["images"]["name"] == list(run.dataset("test").names)


def test_a_file_is_a_slice_without_truth(run, tmp_path):
    from PIL import Image

    item = run.dataset("test")[0]
    Image.fromarray(item.image).save(tmp_path / "slice.png")
    found = run.predict_file(tmp_path / "slice.png")
    np.testing.assert_allclose(found.rows, run.predict(item).rows, atol=1e-3)
    assert (found.name, found.truth) == ("slice.png", None)


def test_predictions_of_a_split(run):
    assert [one.name for one in run.predictions(most=1)] == [run.dataset("test").names[0]]
    assert len(run.predictions("val")) == 4


def test_slices_that_were_used_in_training_are_counted(run):
    with pytest.warns(UserWarning, match="8 of the 8 images of split 'train' were used in training"):
        assert run.evaluate("train")["seen_in_training"] == 8
