import torch

from pcsargmax.ops.seeds import mix_seed


def test_seeds_are_spread():
    seeds = [mix_seed(seed, epoch, number) for seed in range(3) for epoch in range(30) for number in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix_seed(0) != mix_seed(0, 0)
    assert mix_seed(1, 2) != mix_seed(2, 1)
    # every bit is a fair coin, and neighbours differ in half of their bits
    bits = torch.tensor([[seed >> bit & 1 for bit in range(63)] for seed in seeds[:3000]]).double()
    assert (bits.mean(dim=0) - 0.5).abs().max() < 0.05
    assert abs((bits[1:] != bits[:-1]).double().mean() - 0.5) < 0.01
