"""One self-contained HTML file that says how good a run is: figures, curves, keypoints, shapes to turn and look at."""

from pcsargmax.visualize.report.assembly import SHAPES, chosen_shapes
from pcsargmax.visualize.report.clouds.run import RunReport, check_alike, measure_run
from pcsargmax.visualize.report.clouds.write import write_report

__all__ = ["SHAPES", "RunReport", "check_alike", "chosen_shapes", "measure_run", "write_report"]
