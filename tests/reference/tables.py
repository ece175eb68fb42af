"""The numbers of the tables, one resample of the models after the other, from the result files alone."""

import itertools
import math
from statistics import fmean, stdev

import numpy as np
import torch
from scipy.stats import pearsonr


def draws(models, number, seed):
    """The models of each resample, (number, models), as the package draws them."""
    return torch.randint(models, (number, models), generator=torch.Generator().manual_seed(seed)).tolist()


def pck(result, estimate, threshold, models):
    """Per cent of the visible keypoints of these models that are right."""
    errors = [e for m in models for e in result["metrics"]["shapes"]["errors"][estimate][m] if e is not None]
    return 100 * sum(e <= threshold for e in errors) / len(errors)


def correlation(result, estimate, threshold, models, name="confidence"):
    """Pearson's r of confidence, or of the peak, with being right over the visible keypoints of these models."""
    shapes = result["metrics"]["shapes"]
    pairs = [
        (c, float(e <= threshold))
        for m in models
        for c, e in zip(shapes[name][m], shapes["errors"][estimate][m], strict=True)
        if e is not None
    ]
    confidence, right = zip(*pairs, strict=True)
    return math.nan if len(set(right)) < 2 else float(pearsonr(confidence, right).statistic)


def das(result, models):
    """Per cent: DAS of these models, no two alike."""
    shapes = result["metrics"]["shapes"]
    both = []
    for name in ("ids", "keypoints"):
        columns = zip(*(shapes[name][m] for m in models), strict=True)
        shares = []
        for column in columns:
            there = [label for label in column if label >= 0]
            shares.append(fmean(a == b for a, b in itertools.product(there, there)))
        both.append(fmean(shares))
    return 100 * fmean(both)


def cell(results, score, number, seed):
    """Mean and deviation over the results of the seeds, and the interval of the mean over the seeds."""
    models = len(results[0]["metrics"]["shapes"]["model_id"])
    values = [score(result, range(models)) for result in results]
    drawn = [fmean(score(result, chosen) for result in results) for chosen in draws(models, number, seed)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return fmean(values), stdev(values), low, high
