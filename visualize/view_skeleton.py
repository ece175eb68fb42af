"""Look at the skeletons that a discovery reconstructs clouds by; the darker an edge, the stronger.

    python visualize/view_skeleton.py runs/mug-discover
    python visualize/view_skeleton.py runs/mug-discover mug.ply --save mug.png

Without --save or --html a window opens.
"""

import argparse
from pathlib import Path

from pcsargmax import load_run
from pcsargmax.visualize import file_shapes, predicted_shapes, render, run_shapes, show, write_page


def main() -> None:
    """Read the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that `pcsargmax discover` left")
    parser.add_argument("files", nargs="*", type=Path, help="meshes or clouds; default: the run's own")
    parser.add_argument("--split", default="test", help="of the run's own data; default: %(default)s")
    parser.add_argument("--save", type=Path, help="write a PNG of the first cloud, without a screen")
    parser.add_argument("--html", type=Path, help="write a page of all clouds")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    shapes = file_shapes(arguments.files) if arguments.files else run_shapes(run, arguments.split)
    found = predicted_shapes(run, shapes)
    skeleton = found[0].skeleton
    if skeleton is None:
        parser.error(f"{arguments.run}: a run of `pcsargmax train`, which has no skeleton; expected one of `discover`")
    print(f"{found[0].name}: edges by strength")
    for edge in skeleton.strength.argsort()[::-1]:
        first, second = (found[0].keypoint_names[end] for end in skeleton.edges[edge])
        if skeleton.strength[edge] >= 0.1:
            print(f"  {first} to {second}: {skeleton.strength[edge]:.2f}")
    if arguments.html:
        print(write_page(found, arguments.html, title="Skeletons"))
    if arguments.save:
        print(render(found[0], arguments.save))
    if not arguments.html and not arguments.save:
        show(found)


if __name__ == "__main__":
    main()
