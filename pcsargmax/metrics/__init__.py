"""Metrics in the units of their input: pure functions, and `torchmetrics.Metric` classes over them.

Arguments have one order everywhere: preds, target, visible or mask, then whatever else the metric needs, such as
areas and scores. A metric of confidence takes confidence or scores, then errors. Constructors take thresholds first,
then keyword-only options, `num_bootstrap` and `seed` of the bootstrap, and the keyword arguments of
`torchmetrics.Metric`.

Each name is imported when it is first used, so a function alone does not import torchmetrics. The table of contents is
`__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
