"""Look at the annotations of a data set: a folder laid out like KeypointNet, or clouds with landmark files.

    python visualize/view_dataset.py datasets/keypointnet --category mug --split test
    python visualize/view_dataset.py my-scans --html scans.html

Without --save or --html a window opens.
"""

import argparse
from pathlib import Path

from pcsargmax import KeypointNet
from pcsargmax.visualize import (
    annotated_shapes,
    dataset_shapes,
    folder_shapes,
    keypointnet_mesh,
    render,
    show,
    write_page,
)


def main() -> None:
    """Read the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--category", help="of KeypointNet; without it the folder holds clouds and landmarks")
    parser.add_argument("--split", default="all", help="of a category; default: %(default)s")
    parser.add_argument("--first", type=int, default=1, help="number of the first cloud, from 1")
    parser.add_argument("--count", type=int, default=50, help="how many clouds at most; default: %(default)s")
    parser.add_argument("--save", type=Path, help="write a PNG of the first cloud, without a screen")
    parser.add_argument("--html", type=Path, help="write a page of all clouds")
    arguments = parser.parse_args()
    if arguments.category:
        dataset = KeypointNet(arguments.root, arguments.category, arguments.split)
        found = annotated_shapes(dataset_shapes(dataset, keypointnet_mesh(arguments.root)))
    else:
        found = annotated_shapes(folder_shapes(arguments.root))
    chosen = found[max(arguments.first - 1, 0) :][: arguments.count]
    if not chosen or arguments.first < 1:
        parser.error(f"--first and --count leave none of {len(found)} clouds")
    if arguments.html:
        print(write_page(chosen, arguments.html, title=f"{arguments.category or arguments.root.name}: annotations"))
    if arguments.save:
        print(render(chosen[0], arguments.save))
    if not arguments.html and not arguments.save:
        show(chosen)


if __name__ == "__main__":
    main()
