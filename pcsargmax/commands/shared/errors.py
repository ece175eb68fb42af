"""A user's mistake is one clear line, not a traceback."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text


def check_there(names: Iterable[str | Path], *, categories: bool = False) -> None:
    """Refuse a path that does not exist, before anything slow is imported.

    Args:
        names: files and folders.
        categories: whether a plain name without a suffix may be that of a category.

    Raises:
        FileNotFoundError: naming the first that is missing.
    """
    for name in names:
        path = Path(name)
        if not (path.exists() or (categories and path.name == str(name) and not path.suffix)):
            raise FileNotFoundError(f"{name}: no such file or folder")


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn ValueError and OSError into a red line and exit code 2, an interrupt into exit code 130.

    Warnings are shown as a yellow line each, the same one once; other exceptions are defects and keep their traceback.
    """
    console, shown = Console(stderr=True), set[str]()

    def show(message: Warning | str, *_: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            console.print(Text(f"warning: {message}", style="yellow"), soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        try:
            yield
        except (ValueError, OSError) as error:
            console.print(Text(f"error: {error}", style="red"), soft_wrap=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            console.print("interrupted")
            raise typer.Exit(130) from None
