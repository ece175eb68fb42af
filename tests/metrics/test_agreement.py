import itertools

import pytest
import torch
from reference import alignment as plain

from pcsargmax.metrics.agreement import chance_agreement, corrected, pair_agreement
from pcsargmax.metrics.bootstrap import percentile_interval, resample_weights


def random_labels(num_models=12, columns=5, seed=0):
    """Labels with some agreement, some absent; the first column is complete."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(columns).repeat(num_models, 1)
    other = torch.rand(num_models, columns, generator=generator) < 0.5
    labels[other] = torch.randint(columns, (int(other.sum()),), generator=generator)
    labels[:, 1:][torch.rand(num_models, columns - 1, generator=generator) < 0.3] = -1
    return labels


def as_rows(labels):
    return [[None if label < 0 else label for label in row] for row in labels.tolist()]


def test_of_two_complete_models_it_is_cohens_kappa():
    metrics = pytest.importorskip("sklearn.metrics")
    labels = torch.randint(4, (2, 30), generator=torch.Generator().manual_seed(0))
    labels[1, :15] = labels[0, :15]
    assert corrected(labels).item() == pytest.approx(metrics.cohen_kappa_score(*labels.tolist()))


class TestChance:
    def test_one_label_per_model_gets_exactly_nothing(self):
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(3, (20, 1), generator=generator).repeat(1, 7)
        labels[torch.rand(20, 7, generator=generator) < 0.4] = -1
        assert pair_agreement(labels).nanmean() > 0.3
        assert corrected(labels).item() == pytest.approx(0, abs=1e-12)

    def test_one_label_everywhere_gets_nothing_by_definition(self):
        assert corrected(torch.full((4, 3), 2)) == 0

    @pytest.mark.parametrize("second", [[0, 1, 2], [0, 0, 1], [-1, 0, 1]])
    def test_the_mean_over_all_orders_is_exactly_nothing(self, second):
        first, third = [0, 0, 2], [1, 2, 1]
        kept = [c for c in range(3) if second[c] >= 0]
        values = []
        for order in itertools.permutations(first):
            for other in itertools.permutations([second[c] for c in kept]):
                row = [-1] * 3
                for c, label in zip(kept, other, strict=True):
                    row[c] = label
                values += [corrected(torch.tensor([order, row, last])) for last in itertools.permutations(third)]
        assert torch.stack(values).mean().item() == pytest.approx(0, abs=1e-12)
        assert torch.stack(values).std() > 0.1

    def test_perfect_agreement_gets_one_even_where_ids_are_absent(self):
        labels = torch.arange(5).repeat(6, 1)
        labels[torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) < 0.4] = -1
        assert corrected(labels).item() == pytest.approx(1, abs=1e-12)

    def test_it_is_nan_without_two_models(self):
        assert corrected(torch.tensor([[0, 1]])).isnan()
        assert corrected(torch.tensor([[0, -1], [-1, 1]])).isnan()

    def test_chance_agreement_by_hand(self):
        labels = torch.tensor([[0, 0, 1], [0, 1, -1], [1, -1, 1]])
        # frequencies of labels 0 and 1: (2/3, 1/3), (1/2, 1/2), (0, 1); pairs 01: 1/2, 02: 1/3, 12: 1/2
        expected = [(1 / 2 + 1 / 3 + 1 / 2) / 3, 1 / 2, 1 / 3]
        assert chance_agreement(labels).tolist() == pytest.approx(expected)


class TestWeights:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("self_pairs", [True, False])
    def test_a_model_drawn_twice_is_paired_with_others_twice_but_not_with_its_copy(self, seed, self_pairs):
        labels = random_labels(seed=seed)
        weights = resample_weights(12, 6, seed=seed)
        agreement = pair_agreement(labels, weights, self_pairs=self_pairs)
        kappa = corrected(labels, weights)
        for r, counts in enumerate(weights.long()):
            rows, origin = as_rows(labels.repeat_interleave(counts, 0)), torch.arange(12).repeat_interleave(counts)
            assert len(set(origin.tolist())) < 12
            expected = plain.agreement(rows, self_pairs, origin.tolist())
            assert agreement[r].nanmean().item() == pytest.approx(expected, abs=1e-12)
            assert kappa[r].item() == pytest.approx(plain.kappa(rows, origin.tolist()), abs=1e-12)

    def test_ones_are_no_weights_and_one_row_is_one_weighting(self):
        labels, weights = random_labels(), resample_weights(12, 4)
        for function in (pair_agreement, chance_agreement, corrected):
            assert torch.equal(function(labels, torch.ones(12)), function(labels))
            torch.testing.assert_close(function(labels, weights)[2], function(labels, weights[2]), equal_nan=True)

    def test_a_column_that_no_drawn_model_has_is_nan(self):
        labels = torch.tensor([[0, -1], [0, -1], [0, 1]])
        found = pair_agreement(labels, torch.tensor([[2.0, 1, 0], [1, 1, 1]]))
        assert found[0, 1].isnan()
        assert found[1, 1] == 1

    def test_the_mean_of_resamples_is_the_figure_itself(self):
        # Pairs of copies, counted as pairs of models, would lift it by about (1 − A) / M, here 0.03.
        labels = random_labels(num_models=15, columns=1)
        weights = resample_weights(15, 4000)
        figure, replicates = pair_agreement(labels), pair_agreement(labels, weights)
        assert replicates.mean().item() == pytest.approx(figure.item(), abs=0.008)

    def test_the_interval_covers_the_truth_about_as_often_as_it_says(self):
        # Labels of 40 models drawn from known frequencies: two models agree with probability Σ p².
        frequency = torch.tensor([0.6, 0.3, 0.1])
        generator = torch.Generator().manual_seed(0)
        truth = float(frequency.square().sum())
        weights, held = resample_weights(40, 400), 0
        for _ in range(200):
            labels = torch.multinomial(frequency, 40, replacement=True, generator=generator)[:, None]
            low, high = percentile_interval(pair_agreement(labels, weights, self_pairs=False), 0.9)
            held += bool(low <= truth <= high)
        assert 0.82 <= held / 200 <= 0.95


def test_bad_input_is_named():
    labels = random_labels()
    with pytest.raises(ValueError, match=r"labels must be \(M, C\) long, got torch\.float32 of shape \(12, 5\)"):
        pair_agreement(labels.float())
    with pytest.raises(ValueError, match=r"weights must be \(12,\) or \(R, 12\), one for each model, got \(3, 5\)"):
        corrected(labels, torch.ones(3, 5))
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        chance_agreement(labels, -torch.ones(12))
