import warnings

import pytest
import typer

from pcsargmax.commands.shared.errors import friendly_errors


@pytest.mark.parametrize("error", [ValueError("lr must be [b]positive[/b]"), OSError("no such file")])
def test_a_mistake_is_one_line_as_it_was_said(error, capsys):
    with pytest.raises(typer.Exit) as caught, friendly_errors():
        raise error
    assert caught.value.exit_code == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {error}\n"
    assert captured.out == ""


def test_a_long_line_is_not_broken(capsys):
    with pytest.raises(typer.Exit), friendly_errors():
        raise ValueError("word " * 100 + "end")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interrupt_has_the_shells_exit_code(capsys):
    with pytest.raises(typer.Exit) as caught, friendly_errors():
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), friendly_errors():
        raise ZeroDivisionError


@pytest.mark.filterwarnings("default")
def test_warnings_are_a_line_each(capsys):
    before = warnings.showwarning
    with friendly_errors():
        warnings.warn("3 of 9 models are not on disk", UserWarning, stacklevel=2)
    assert capsys.readouterr().err == "warning: 3 of 9 models are not on disk\n"
    assert warnings.showwarning is before
