"""Images with keypoints or surfaces: data sets, their items, and what a network sees of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
