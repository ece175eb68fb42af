import subprocess
import sys

import pytest
import torch

from pcsargmax import Grid, KeypointDistribution
from pcsargmax.notebook import register
from pcsargmax.visualize.notebook.clouds import distribution_html, prediction_html
from pcsargmax.visualize.notebook.images import image_html

InteractiveShell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell


@pytest.fixture
def shown():
    """What IPython shows as HTML, once the formatters are registered."""
    shell = InteractiveShell.instance()
    assert register()
    yield shell.display_formatter.formatters["text/html"]
    InteractiveShell.clear_instance()


def test_predictions_and_distributions_show_as_html(shown, mug, face, oct_slice):
    maps = KeypointDistribution(torch.zeros(1, 2, 6), Grid((2, 3)))
    assert shown(maps) == distribution_html(maps)
    assert shown(mug()) == prediction_html(mug())
    assert shown(face()) == image_html(face())
    assert shown(oct_slice()) == image_html(oct_slice())


def test_what_cannot_be_drawn_shows_its_plain_text(shown, mug):
    one = mug()
    object.__setattr__(one, "probability", None)  # as nothing else would
    assert shown(one) is None
    maps = KeypointDistribution(torch.zeros(1, 2, 5), torch.zeros(5, 3))
    object.__setattr__(maps, "logits", torch.zeros(1, 2, 6))
    assert shown(maps) is None


def test_without_a_shell_nothing_is_registered():
    assert not register()
    code = "import sys; import pcsargmax; assert not {'IPython', 'pcsargmax.notebook'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_registers_where_a_shell_runs():
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import pcsargmax
from pcsargmax import Grid, KeypointDistribution
import torch
print(shell.display_formatter.format(KeypointDistribution(torch.zeros(1, 2, 6), Grid((2, 3))))[0]["text/html"][:5])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "<div>"
