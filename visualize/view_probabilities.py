"""Look at the probability maps of a trained detector on files of your own, or at predictions saved before.

    python visualize/view_probabilities.py runs/mug mug.ply --keypoint 3
    python visualize/view_probabilities.py saved.npz --save mug.png --log --ellipsoids

`pcsargmax predict RUN FILE --format npz` saves a prediction with its maps. Without --save or --html a window opens.
"""

import argparse
from pathlib import Path

from pcsargmax import load_run
from pcsargmax.prediction import Prediction, load_prediction
from pcsargmax.visualize import render, show, write_page


def read(files: list[Path]) -> list[Prediction]:
    """The saved predictions, or those of a run (the first) on the other files."""
    if all(file.suffix == ".npz" for file in files):
        return [load_prediction(file) for file in files]
    run = load_run(files[0])
    return [run.predict_file(file) for file in files[1:]]


def main() -> None:
    """Read the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="saved .npz, or a run and clouds")
    parser.add_argument("--keypoint", help="whose map colours the points; default: the largest of all")
    parser.add_argument("--log", action="store_true", help="colour by the logarithm")
    parser.add_argument("--ellipsoids", action="store_true", help="draw the 1 sigma ellipsoids")
    parser.add_argument("--save", type=Path, help="write a PNG of the first cloud, without a screen")
    parser.add_argument("--html", type=Path, help="write a page of all clouds")
    arguments = parser.parse_args()
    predictions = read(arguments.files)
    if not predictions:
        parser.error("expected saved .npz files, or a run and at least one cloud")
    options = {"keypoint": arguments.keypoint, "log_scale": arguments.log, "ellipsoids": arguments.ellipsoids}
    if arguments.html:
        print(write_page(predictions, arguments.html, title="Probability maps"))
    if arguments.save:
        print(render(predictions[0], arguments.save, **options))
    if not arguments.html and not arguments.save:
        show(predictions, **options)


if __name__ == "__main__":
    main()
