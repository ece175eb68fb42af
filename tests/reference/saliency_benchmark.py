"""Figures of keypoints without ids as plain loops: the average precision and the mIoU of a saliency benchmark."""


def average_precision(models, threshold, strict=True):
    """AP over a list of (distance rows, scores): each guess takes its nearest annotation, the surest guess first."""
    guesses = sorted(
        ((score, m, p) for m, (_, scores) in enumerate(models) for p, score in enumerate(scores)),
        key=lambda guess: -guess[0],
    )
    total = sum(len(rows[0]) for rows, _ in models)
    taken, curve, true = set(), [], 0
    for count, (_, m, p) in enumerate(guesses, start=1):
        row = models[m][0][p]
        nearest = min(range(len(row)), key=lambda g: row[g])
        near = row[nearest] < threshold if strict else row[nearest] <= threshold
        if near and (m, nearest) not in taken:
            taken.add((m, nearest))
            true += 1
        curve.append((true / total, true / count))
    area, before = 0.0, 0.0
    for recall in sorted({recall for recall, _ in curve}):
        area += (recall - before) * max(precision for other, precision in curve if other >= recall)
        before = recall
    return area


def iou(models, threshold):
    """(G − FN) / (G + FP) over a list of distance rows (P, G), pooled."""
    found, total, false = 0, 0, 0
    for rows, annotated in models:
        total += annotated
        found += sum(any(row[g] <= threshold for row in rows) for g in range(annotated))
        false += sum(all(d > threshold for d in row) for row in rows)
    return found / (total + false)
