"""Look at the probability maps of a trained run: on its test split, on files of your own, or saved before.

    python visualize/view_probabilities.py runs/mug
    python visualize/view_probabilities.py runs/mug mug.ply --keypoint 3 --samples 50
    python visualize/view_probabilities.py saved.npz --save mug.png --log --ellipsoids 2

`pcsargmax predict RUN FILE --format npz` saves a prediction with its maps. Without --save or --html a window opens.
"""

import argparse
from pathlib import Path

from pcsargmax import load_run
from pcsargmax.visualize import (
    Look,
    annotated_shapes,
    file_shapes,
    predicted_shapes,
    render,
    run_shapes,
    show,
    write_page,
)


def main() -> None:
    """Read the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run, or a saved .npz")
    parser.add_argument("files", nargs="*", type=Path, help="meshes or clouds, or more saved .npz")
    parser.add_argument("--keypoint", help="whose map colours the points; default: the largest of all")
    parser.add_argument("--log", action="store_true", help="colour by the logarithm")
    parser.add_argument("--ellipsoids", type=int, default=0, help="draw those of 1 … n sigma: 0, 1 or 2")
    parser.add_argument("--samples", type=int, default=0, help="draw so many samples of each distribution")
    parser.add_argument("--save", type=Path, help="write a PNG of the first cloud, without a screen")
    parser.add_argument("--html", type=Path, help="write a page of all clouds")
    arguments = parser.parse_args()
    if arguments.run.suffix == ".npz":
        found = annotated_shapes(file_shapes([arguments.run, *arguments.files]))
    else:
        run = load_run(arguments.run)
        shapes = file_shapes(arguments.files) if arguments.files else run_shapes(run, "test")
        found = predicted_shapes(run, shapes, num_samples=arguments.samples)
    look = Look(keypoint=arguments.keypoint, log_scale=arguments.log, ellipsoids=arguments.ellipsoids, samples=True)
    if arguments.html:
        print(write_page(found, arguments.html, title="Probability maps", keypoint=look.keypoint))
    if arguments.save:
        print(render(found[0], arguments.save, look))
    if not arguments.html and not arguments.save:
        show(found, look=look)


if __name__ == "__main__":
    main()
