"""From a folder of scans with landmarks to landmarks on a new scan, as a 3D Slicer file.

    python examples/train_on_your_landmarks.py FOLDER NEW_SCAN.ply

FOLDER holds meshes or clouds and, with the same stems, landmarks from 3D Slicer (.mrk.json, .fcsv) or one .csv for all.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from pcsargmax import LandmarkFolder, TrainSettings, load_run, recommend, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("scan", type=Path)
parser.add_argument("--epochs", type=int, default=0, help="0: as many as suit the number of scans")
parser.add_argument("--run", type=Path, default=Path("runs/example-landmarks"))
arguments = parser.parse_args()

# Surfaces are sampled evenly; a landmark missing on some scans is simply not visible there.
scans = LandmarkFolder(arguments.folder, "all")
print(f"{len(scans)} scans, landmarks {', '.join(scans.keypoint_names)}")

# No split files: train, val and test are drawn by seed and share, the same on every machine.
chosen = recommend(TrainSettings(data=str(arguments.folder)))
print(*chosen.reasons, sep="\n")
settings = replace(chosen.settings, epochs=arguments.epochs) if arguments.epochs else chosen.settings
run = load_run(arguments.run) if arguments.run.exists() else train(settings, arguments.run)

# Thresholds are shares of the bounding-box diagonal here, since scans come in all units.
found = run.evaluate("test")
print(f"mean error {found['expectation']['mean_error']:.4f}, template {found['template']['mean_error']:.4f}")

# Positions come back in the scan's own units and frame, ready to open beside it.
prediction = run.predict_file(arguments.scan)
for name, position, confidence in zip(
    prediction.keypoint_names, prediction.position, prediction.confidence, strict=True
):
    print(f"{name:>12s}  {position.round(4)}  confidence {confidence:.2f}")
prediction.save(arguments.run / f"{arguments.scan.stem}.mrk.json", format="mrk.json")
