"""HTML of the Jinja2 templates of this folder: plain data goes in, and every text is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """Return the template `name`, a path below this folder, filled with `values`."""
    return _environment().get_template(name).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    # Scripts and styles are files of ours and no templates: their braces are their own.
    made.globals["source"] = lambda name: Markup((_FOLDER / name).read_text(encoding="utf-8"))
    return made
