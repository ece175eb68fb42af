"""3-D keypoints on point clouds, localised by sampling-argmax: the table of contents is `__init__.pyi`.

Nothing heavy is imported until one of the names is used.
"""

import sys

import lazy_loader

_lazy_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Import a public name when it is first used; `__version__` is looked up then too."""
    if name != "__version__":
        return _lazy_getattr(name)
    from importlib import metadata

    try:
        return metadata.version("pcsargmax")
    except metadata.PackageNotFoundError:  # a source tree on the path, not installed
        return "0+unknown"


if "IPython" in sys.modules:
    from pcsargmax.notebook import register

    register()
