"""Train a detector for one category of KeypointNet, measure it, and look at a shape it has never seen.

    python examples/train_on_keypointnet.py --root datasets/keypointnet --category mug

Get a category first with `pcsargmax data download mug`, or make a procedural one: `pcsargmax data make mug`.
"""

import argparse
from pathlib import Path

from pcsargmax import KeypointNet, TrainSettings, load_run, train
from pcsargmax.visualize import write_page

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--root", default="datasets/keypointnet")
parser.add_argument("--category", default="mug")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--run", type=Path, default=Path("runs/example-keypointnet"))
arguments = parser.parse_args()

# What an item is: points in farthest-point order, keypoints by semantic id, and which of them exist.
shapes = KeypointNet(arguments.root, arguments.category, "train")
print(f"{len(shapes)} shapes, {shapes.num_keypoints} keypoints; the first: {shapes[0]}")

# One frozen dataclass holds everything a run depends on; `objective="soft"` would train the plain soft-argmax.
settings = TrainSettings(
    data=arguments.category,
    root=arguments.root,
    objective="sampling",
    num_samples=10,
    epochs=arguments.epochs,
    lr=4.5e-3,
    lr_schedule="onecycle",
    ema=0.99,
)
if arguments.run.exists():
    run = load_run(arguments.run)
else:
    run = train(settings, arguments.run, progress=lambda what, i, n: print(f"\r{what} {i}/{n}", end=""))
    print()

# The same measure for the detector and for the mean keypoints scaled into the bounding box.
metrics = run.evaluate("test")
for estimate in ("expectation", "snapped", "template"):
    values = metrics[estimate]
    print(f"{estimate:12s} PCK@0.02 {values['pck@0.02']:.3f}  mean error {values['mean_error']:.4f}")

# A prediction is a distribution over the points; the page shows every map.
test = KeypointNet(arguments.root, arguments.category, "test")
predictions = [run.predict(test[i]) for i in range(min(8, len(test)))]
print(write_page(predictions, arguments.run / "test-shapes.html", title=f"{arguments.category}: unseen shapes"))
