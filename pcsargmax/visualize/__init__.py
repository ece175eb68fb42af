"""Looking at predictions: Open3D window and pictures, HTML pages and reports, figures, each imported when used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
