"""What a short training reaches on real shapes; the figures of the README come from longer ones."""

import pytest

from pcsargmax.settings.detector import TrainSettings
from pcsargmax.training.detector.train import train

SHORT = {"backbone": "light", "epochs": 8, "lr": 4.5e-3, "lr_schedule": "onecycle", "ema": 0.99, "num_samples": 5}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:KeypointNet mug")
@pytest.mark.parametrize("objective", ["sampling", "soft"])
def test_eight_epochs_on_mugs_beat_the_template(shared_data, tmp_path, objective):
    settings = TrainSettings(
        data="mug",
        root=str(shared_data / "keypointnet"),
        ids=tuple(range(10)),
        mirror="x",
        objective=objective,
        **SHORT,
    )
    found = train(settings, tmp_path / "run").evaluate("test")
    assert found["expectation"]["pck@0.02"] > found["template"]["pck@0.02"] + 0.05
    assert found["expectation"]["mean_error"] < found["template"]["mean_error"]


@pytest.mark.slow
def test_twenty_epochs_on_teeth_beat_the_template(shared_data, tmp_path):
    settings = TrainSettings(
        data=str(shared_data / "teeth"), shares=(2, 0, 1), val_split="none", **(SHORT | {"epochs": 20})
    )
    found = train(settings, tmp_path / "run").evaluate("test")
    assert found["expectation"]["mean_error"] < 0.8 * found["template"]["mean_error"]
