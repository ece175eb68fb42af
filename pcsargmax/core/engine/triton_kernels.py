"""The device side of `triton_moments`: what each program of a GPU does."""

# mypy: allow-untyped-defs

from __future__ import annotations

from typing import Any

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


def _jit(function: Any) -> Any:
    """`triton.jit` where Triton is installed."""
    return function if triton is None else triton.jit(function)


# What follows runs on the device. Tiles are (GROUP, BLOCK): samples by sites; the rows of a tile share what is loaded.


@_jit
def _with(tiles, tile):
    """A tuple and one more."""
    return tiles + (tile,)  # noqa: RUF005  Triton knows no star in a tuple


@_jit
def _zeros(COUNT: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """COUNT tiles of 0."""
    tiles = ()
    for _ in tl.static_range(COUNT):
        tiles = _with(tiles, tl.zeros((GROUP, BLOCK), tl.float32))
    return tiles


@_jit
def _rows(values, stride, cloud, sites, site, COUNT: tl.constexpr):
    """COUNT coordinates of some sites (N,) of a cloud, each (N,), 0 past the last; 1 where no values are given."""
    rows = ()
    if values is None:
        for _ in tl.static_range(COUNT):
            rows = _with(rows, tl.where(site < sites, 1.0, 0.0))
    else:
        place = values + cloud.to(tl.int64) * stride
        for _ in tl.static_range(COUNT):
            rows = _with(rows, tl.load(place + site, mask=site < sites, other=0.0))
            place += sites
    return rows


@_jit
def _log_exponential_of(word):
    """log E of uint32 words, of any shape."""
    u = (word.to(tl.float32) + 0.5) * 2.3283064365386963e-10  # 2^-32
    # −log(1 − u) = u + u²/2 + u³/3 + …: below 1/16 seven terms leave out less than 5e-9 of it; 1 − u would round.
    series = u * (1 + u * (0.5 + u * (0.33333334 + u * (0.25 + u * (0.2 + u * (0.16666667 + u * 0.14285715))))))
    # u can round to 1; the last float below it stands for 2^-25 of all draws, 2^-26 is the middle of these.
    exponential = tl.where(u < 0.0625, series, -tl.log(tl.maximum(1 - u, 1.4901161193847656e-8)))
    return tl.log(exponential)


@_jit
def _log_exponential(key, cloud, keypoint, group, lane, site):
    """log E (GROUP, BLOCK); lane (GROUP, 1) and site (BLOCK,)."""
    w0, w1, w2, w3 = tl.philox(key, site, group, keypoint, cloud)
    low = tl.where(lane == 0, w0[None, :], w1[None, :])
    high = tl.where(lane == 2, w2[None, :], w3[None, :])
    return _log_exponential_of(tl.where(lane < 2, low, high))


@_jit
def _scores(logits, key, row, cloud, keypoint, group, lane, sites, site, noise_scale):
    """The logits of a map less the scaled log E (GROUP, BLOCK), −inf past its last site."""
    logit = tl.load(logits + row.to(tl.int64) * sites + site, mask=site < sites, other=-float("inf"))
    noise = _log_exponential(key, cloud, keypoint, group, lane, site)
    return logit[None, :] - noise_scale * noise


@_jit
def noise_kernel(noise, seed, samples, groups, keypoints, sites, blocks, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """One program for each map, group of samples and block of sites."""
    program = tl.program_id(0)
    row, group, block = program // (groups * blocks), program // blocks % groups, program % blocks
    cloud, keypoint = row // keypoints, row % keypoints
    lane = tl.arange(0, GROUP)[:, None]
    site = block * BLOCK + tl.arange(0, BLOCK)
    sample = group * GROUP + lane
    drawn = _log_exponential(tl.load(seed), cloud, keypoint, group, lane, site)
    place = (row.to(tl.int64) * samples + sample) * sites + site[None, :]
    tl.store(noise + place, drawn, mask=(sample < samples) & (site < sites)[None, :])


@_jit
def moments_kernel(
    logits, positions, variance, seed, mean, squares, peak, share, soft_mean, winner,
    samples, groups, keypoints, sites, position_stride, variance_stride, noise_scale, slope,
    D: tl.constexpr, V: tl.constexpr, HARD: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program for each map and group of samples: a softmax that goes along, each column of the tile by itself."""
    program = tl.program_id(0)
    row, group = program // groups, program % groups
    cloud, keypoint = row // keypoints, row % keypoints
    lane, key = tl.arange(0, GROUP)[:, None], tl.load(seed)
    best = tl.full((GROUP, BLOCK), -3.4028234663852886e38, tl.float32)
    best_site = tl.zeros((GROUP, BLOCK), tl.int32)
    weight = tl.zeros((GROUP, BLOCK), tl.float32)
    first, second = _zeros(D, GROUP, BLOCK), _zeros(V, GROUP, BLOCK)
    for start in range(0, sites, BLOCK):
        site = start + tl.arange(0, BLOCK)
        score = _scores(logits, key, row, cloud, keypoint, group, lane, sites, site, noise_scale)
        # One of the two is the new best, so one exponential gives both factors. A −inf weighs 0.
        better = score > best
        ratio = tl.exp(-tl.abs(score - best) * slope)
        keep, add = tl.where(better, ratio, 1.0), tl.where(better, 1.0, ratio)
        best = tl.where(better, score, best)
        best_site = tl.where(better, site[None, :], best_site)
        weight = weight * keep + add
        x = _rows(positions, position_stride, cloud, sites, site, D)
        moved = ()
        for d in tl.static_range(D):
            moved = _with(moved, first[d] * keep + add * x[d][None, :])
        first = moved
        if not HARD:
            v = _rows(variance, variance_stride, cloud, sites, site, V)
            moved = ()
            for a in tl.static_range(V):
                moved = _with(moved, second[a] * keep * keep + add * add * v[a][None, :])
            second = moved
    # From the columns to the row.
    top = tl.max(best, axis=1)
    factor = tl.exp((best - top[:, None]) * slope)
    total = tl.sum(weight * factor, axis=1)
    inverse = tl.div_rn(tl.full((GROUP,), 1.0, tl.float32), total)
    sample = group * GROUP + tl.arange(0, GROUP)
    place, inside = row.to(tl.int64) * samples + sample, sample < samples
    tl.store(peak + place, top, mask=inside)
    tl.store(share + place, inverse, mask=inside)
    if HARD:
        chosen = tl.min(tl.where(best == top[:, None], best_site, sites), axis=1)
        tl.store(winner + place, chosen, mask=inside)
        flaw = total * inverse * 0.0  # NaN where the relaxed weights are
        x = _rows(positions, position_stride, cloud, sites, chosen, D)
        v = _rows(variance, variance_stride, cloud, sites, chosen, V)
    for d in tl.static_range(D):
        average = tl.sum(first[d] * factor, axis=1) * inverse
        if HARD:
            tl.store(soft_mean + place * D + d, average, mask=inside)
            average = x[d] + flaw
        tl.store(mean + place * D + d, average, mask=inside)
    for a in tl.static_range(V):
        spread = v[a] + flaw if HARD else tl.sum(second[a] * factor * factor, axis=1) * inverse * inverse
        tl.store(squares + place * V + a, spread, mask=inside)


@_jit
def gradient_kernel(
    logits, positions, variance, seed, peak, share, soft_mean, pull, winner, grad_mean, grad_squares,
    by_logits, by_positions, by_variance,
    samples, groups, keypoints, sites, position_stride, variance_stride, noise_scale, slope,
    D: tl.constexpr, V: tl.constexpr, HARD: tl.constexpr, GROUP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program for each map and block of sites: it goes through the samples."""
    program = tl.program_id(0)
    blocks = tl.cdiv(sites, BLOCK)
    row, site = program // blocks, program % blocks * BLOCK + tl.arange(0, BLOCK)
    cloud, keypoint = row // keypoints, row % keypoints
    lane, key = tl.arange(0, GROUP)[:, None], tl.load(seed)
    x = _rows(positions, position_stride, cloud, sites, site, D)
    v = _rows(variance, variance_stride, cloud, sites, site, V)
    total = tl.zeros((GROUP, BLOCK), tl.float32)
    first, second = _zeros(D, GROUP, BLOCK), _zeros(V, GROUP, BLOCK)
    for group in range(groups):
        sample = group * GROUP + lane
        place, inside = row.to(tl.int64) * samples + sample, sample < samples
        score = _scores(logits, key, row, cloud, keypoint, group, lane, sites, site, noise_scale)
        # Past the last sample the peak is inf, so the weight is 0.
        top = tl.load(peak + place, mask=inside, other=float("inf"))
        weight = tl.exp((score - top) * slope) * tl.load(share + place, mask=inside, other=0.0)
        used = weight
        if HARD:
            used = (site[None, :] == tl.load(winner + place, mask=inside, other=-1)).to(tl.float32)
        slopes = tl.zeros((GROUP, BLOCK), tl.float32)  # gw_i − Σ_j w_j gw_j
        moved = ()
        for d in tl.static_range(D):
            g = tl.load(grad_mean + place * D + d, mask=inside, other=0.0)
            slopes += g * (x[d][None, :] - tl.load(soft_mean + place * D + d, mask=inside, other=0.0))
            moved = _with(moved, first[d] + used * g)
        first = moved
        moved = ()
        for a in tl.static_range(V):
            g = tl.load(grad_squares + place * V + a, mask=inside, other=0.0)
            slopes += 2 * g * (used * v[a][None, :] - tl.load(pull + place * V + a, mask=inside, other=0.0))
            moved = _with(moved, second[a] + used * used * g)
        second = moved
        total += weight * slopes
    base = row.to(tl.int64) * sites + site
    if by_logits is not None:
        tl.store(by_logits + base, tl.sum(total, axis=0) * slope, mask=site < sites)
    if by_positions is not None:
        for d in tl.static_range(D):
            place = (row.to(tl.int64) * D + d) * sites + site
            tl.store(by_positions + place, tl.sum(first[d], axis=0), mask=site < sites)
    if by_variance is not None:
        for a in tl.static_range(V):
            place = (row.to(tl.int64) * V + a) * sites + site
            tl.store(by_variance + place, tl.sum(second[a], axis=0), mask=site < sites)
