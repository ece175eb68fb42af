import pytest
import torch

from pcsargmax.models.presence import PresenceHead


@pytest.fixture
def head() -> PresenceHead:
    torch.manual_seed(0)
    return PresenceHead(3, channels=4, global_channels=6).eval()


def test_the_head_reads_what_is_under_each_map(head):
    seen = []
    head.layers[0].register_forward_hook(lambda module, given, out: seen.append(given[0]))
    features, logits, pooled = torch.randn(2, 5, 4), torch.randn(2, 3, 5), torch.randn(2, 6)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = head(features, logits, mask, pooled)
    assert found.shape == (2, 3)
    for b, length in enumerate((5, 3)):
        weight = logits[b, :, :length].softmax(dim=1)
        under = torch.stack([(weight[k, :, None] * features[b, :length]).sum(dim=0) for k in range(3)])
        torch.testing.assert_close(seen[0][b], torch.cat([under.flatten(), pooled[b]]))


def test_a_keypoint_has_its_own_part_in_its_logit(head):
    features, logits, pooled = torch.randn(4, 5, 4), torch.randn(4, 3, 5), torch.randn(4, 6)
    mask = torch.ones(4, 5, dtype=torch.bool)
    head.train()
    before = head(features, logits, mask, pooled)
    with torch.no_grad():
        head.own[1, 2] = 3.0
    under = (logits.softmax(dim=-1) @ features)[:, 1, 2]
    change = torch.zeros(4, 3)
    change[:, 1] = 3 * (under - under.mean()) / (under.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(head(features, logits, mask, pooled) - before, change, atol=1e-5, rtol=1e-5)


def test_a_batch_of_one_is_standardised_by_those_before(head):
    with torch.no_grad():
        head.own.fill_(1.0)
    features, logits, pooled = torch.randn(4, 5, 4), torch.randn(4, 3, 5), torch.randn(4, 6)
    mask = torch.ones(4, 5, dtype=torch.bool)
    head.train()(features, logits, mask, pooled)
    alone = head(features[:1], logits[:1], mask[:1], pooled[:1])
    torch.testing.assert_close(alone, head.eval()(features[:1], logits[:1], mask[:1], pooled[:1]))


def test_padding_tells_nothing(head):
    features, logits, pooled = torch.randn(1, 5, 4), torch.randn(1, 3, 5), torch.randn(1, 6)
    mask = torch.tensor([[True] * 3 + [False] * 2])
    other = features.clone()
    other[0, 3:] = 7.0
    torch.testing.assert_close(head(other, logits, mask, pooled), head(features, logits, mask, pooled))
    alone = head(features[:, :3], logits[:, :, :3], mask[:, :3], pooled)
    torch.testing.assert_close(alone, head(features, logits, mask, pooled))


def test_nothing_that_is_read_is_shaped(head):
    parts = [torch.randn(1, 5, 4), torch.randn(1, 3, 5), torch.randn(1, 6)]
    features, logits, pooled = (part.requires_grad_() for part in parts)
    head(features, logits, torch.ones(1, 5, dtype=torch.bool), pooled).sum().backward()
    assert all(part.grad is None for part in parts)
    assert all(p.grad is not None for p in head.parameters())


def test_what_a_map_looks_at_is_learnt(head):
    # A keypoint is there exactly if the point that its map is on has a high first feature.
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(200, 5, 4, generator=generator)
    place = torch.randint(5, (200, 3), generator=generator)
    logits = 20 * torch.nn.functional.one_hot(place, 5).float()
    there = (features.gather(1, place[..., None].expand(-1, -1, 4))[..., 0] > 0.5).float()
    mask, pooled = torch.ones(200, 5, dtype=torch.bool), torch.zeros(200, 6)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(
            head(features[:150], logits[:150], mask[:150], pooled[:150]), there[:150]
        ).backward()
        optimizer.step()
    head.eval()
    found = head(features[150:], logits[150:], mask[150:], pooled[150:]) > 0
    assert (found == there[150:]).float().mean() > 0.85


def test_half_precision_is_enough_to_read(head):
    features, logits, pooled = torch.randn(1, 5, 4), torch.randn(1, 3, 5), torch.randn(1, 6)
    mask = torch.ones(1, 5, dtype=torch.bool)
    half = head(features.bfloat16(), logits.bfloat16(), mask, pooled)
    torch.testing.assert_close(half, head(features, logits, mask, pooled), atol=0.1, rtol=0.1)
