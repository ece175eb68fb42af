"""The network of Skeleton Merger over clouds of one size, plain; the parameters are those of a SkeletonMerger."""

import torch
from reference import pointnet2


def forward(model, pos):
    """Logits (B, K, N) and strengths (B, P) of pos (B, N, 3)."""
    again = [pos] * (model.backbone.in_channels // 3)
    features, pooled = pointnet2.forward(model.backbone, pos, torch.cat(again, dim=-1) if again else None)
    hidden, dropout, scores, _, mix = model.head
    values = dropout(hidden(features.flatten(0, 1))).view(features.shape)
    logits = mix(torch.log_softmax(scores(values), dim=-1)).transpose(1, 2)
    first, first_norm, _, second, second_norm, _, last, _ = model.strengths
    values = torch.relu(first_norm(first(pooled)))
    values = torch.relu(second_norm(second(values)))
    return logits, torch.sigmoid(last(values))
