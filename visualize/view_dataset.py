"""Look at the annotated clouds of a data set: a folder laid out like KeypointNet, or clouds with landmark files.

    python visualize/view_dataset.py datasets/keypointnet --category mug --split test
    python visualize/view_dataset.py my-scans --html scans.html

Without --save or --html a window opens.
"""

import argparse
from pathlib import Path

from pcsargmax import KeypointNet, LandmarkFolder
from pcsargmax.visualize import annotated, render, show, write_page


def main() -> None:
    """Read the arguments and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of the data set")
    parser.add_argument("--category", help="of KeypointNet; without it the folder holds clouds and landmarks")
    parser.add_argument("--split", default="all", help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="number of the first cloud")
    parser.add_argument("--count", type=int, default=50, help="how many clouds at most; default: %(default)s")
    parser.add_argument("--save", type=Path, help="write a PNG of the first cloud, without a screen")
    parser.add_argument("--html", type=Path, help="write a page of all clouds")
    arguments = parser.parse_args()
    if arguments.category:
        dataset = KeypointNet(arguments.root, arguments.category, arguments.split)
    else:
        dataset = LandmarkFolder(arguments.root, arguments.split)
    chosen = range(len(dataset))[arguments.first : arguments.first + arguments.count]
    if not chosen:
        parser.error(f"--first and --count leave none of {len(dataset)} clouds")
    items = [annotated(dataset[number], dataset.keypoint_names) for number in chosen]
    if arguments.html:
        print(write_page(items, arguments.html, title=f"{arguments.category or arguments.root.name}: annotations"))
    if arguments.save:
        print(render(items[0], arguments.save))
    if not arguments.html and not arguments.save:
        show(items)


if __name__ == "__main__":
    main()
