"""3-D keypoints on point clouds, localised by sampling-argmax: the table of contents is `__init__.pyi`.

Nothing heavy is imported until one of the names is used.
"""

import sys

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if "IPython" in sys.modules:
    from pcsargmax.notebook import register

    register()
