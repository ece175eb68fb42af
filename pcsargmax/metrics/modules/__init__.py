"""The `torchmetrics.Metric` classes, one per file, thin over the functions of `pcsargmax.metrics`.

They stand apart because `import torchmetrics` is slow: it takes three to four times as long as `import torch` where
transformers and matplotlib are installed, as it imports both. A function alone does not pay for that.
"""
