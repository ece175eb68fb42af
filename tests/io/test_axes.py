import re

import pytest

from pcsargmax.io.axes import parse_axes


@pytest.mark.parametrize("axes", ["", "xy", "xyy", "xyzx", "x-yz-", "abc", "XYZ"])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(
        ValueError, match=re.escape(f"axes must have each of x, y and z once, as in xyz or -zyx, got {axes!r}")
    ):
        parse_axes(axes)
