import numpy as np
import pytest
import torch
from reference.benchmark_results import detector_result, image_result, surface_result, write_results
from scipy.stats import pearsonr

from pcsargmax.benchmark.formats import as_markdown
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.tables import make_tables
from pcsargmax.metrics.coco_matches import CocoMatches

METHODS = ("soft", "soft_vr", "uniform-5", "triangular-5", "gaussian-5")


def tables(folder, results, name="images", **options):
    return make_tables(open_results([write_results(folder, results)]), name, num_bootstrap=20, **options)


def the_table(folder, results, name="images", **options):
    (table,) = tables(folder, results, name, **options)
    return table


def rows_of(result, name):
    return np.array(result["metrics"]["images"][name], dtype=float)


def nme(result):
    """100 times the mean over images of their mean error over their length."""
    return 100 * np.mean(np.nanmean(rows_of(result, "errors"), axis=1) / rows_of(result, "length"))


def test_the_error_of_keypoints_is_a_share_of_a_length_with_the_papers_row_beside(tmp_path):
    results = [image_result(method=method, seed=seed) for method in METHODS for seed in range(3)]
    table = the_table(tmp_path, results, against="soft")
    assert table.title == "NME, % of the inter-ocular distance, split 'test'"
    assert table.columns == ("faces", "MTFL")
    assert [row.label for row in table.rows] == [
        "soft-argmax",
        "soft-argmax, V.R.",
        "uniform basis, N_s = 5",
        "triangular basis, N_s = 5",
        "Gaussian basis, N_s = 5",
    ]
    for place, (row, method) in enumerate(zip(table.rows, METHODS, strict=True)):
        expected = [nme(result) for result in results if result["method"] == method]
        assert row.cells[0].mean == pytest.approx(np.mean(expected), rel=1e-12)
        assert row.cells[0].deviation == pytest.approx(np.std(expected, ddof=1), rel=1e-9)
        assert row.paper == (None, (7.25, 7.22, 6.86, 6.82, 6.96)[place])
    first = table.rows[0].cells[0].mean
    assert table.rows[1].cells[0].against.difference == pytest.approx(table.rows[1].cells[0].mean - first)


def test_a_loss_that_is_not_the_papers_has_none_of_its_numbers(tmp_path):
    results = [image_result(method="gaussian-5", expectation_weight=weight) for weight in (0.0, 1.0)]
    table = the_table(tmp_path, results)
    labels = ["Gaussian basis, N_s = 5", "Gaussian basis, N_s = 5, expectation_weight=1.0"]
    assert [row.label for row in table.rows] == labels
    assert [row.paper for row in table.rows] == [(None, 6.96), (None, None)]


def test_the_smallest_error_is_the_best(tmp_path):
    results = [image_result(method=method, shift=shift) for method, shift in (("soft", 1), ("gaussian-5", 0.5))]
    text = as_markdown([the_table(tmp_path, results)])
    (best,) = [line for line in text.splitlines() if line.startswith("| Gaussian")]
    (other,) = [line for line in text.splitlines() if line.startswith("| soft")]
    assert f"**{nme(results[1]):.2f}**" in best
    assert "**" not in other


def test_errors_over_unlike_lengths_have_a_table_each(tmp_path):
    found = tables(tmp_path, [image_result(), image_result("bodies", length="box")])
    assert sorted(table.columns for table in found) == [("bodies",), ("faces", "MTFL")]


def test_an_image_without_keypoints_or_length_does_not_count(tmp_path):
    result = image_result()
    kept = result["metrics"]["images"]
    kept["errors"][0] = [None] * 5
    kept["length"][1] = None
    each = np.nanmean(rows_of(result, "errors")[2:], axis=1) / rows_of(result, "length")[2:]
    assert the_table(tmp_path, [result]).rows[0].cells[0].mean == pytest.approx(100 * each.mean())


def of_coco(method, hits):
    """A network for people, one in each of 6 images; a pose is right up to so many of the ten levels of OKS."""
    result = image_result("coco", method, images=6, length="box")
    levels = torch.arange(10)[:, None] < torch.tensor(hits)
    ones = torch.ones(6, dtype=torch.float64)
    matches = CocoMatches(tuple(range(6)), ones, torch.arange(6), levels, torch.ones(10, 6, dtype=torch.bool))
    result["metrics"] |= {"split": "val", "people": {"ap": {}, "oks": None, "matches": matches.to_dict()}}
    return result


def test_people_have_average_precision_with_the_papers_row_of_as_many_samples(tmp_path):
    methods = {"soft": [10, 5, 5, 5, 5, 0], "triangular-10": [10] * 5 + [0], "triangular-7": [10] * 6}
    found = tables(tmp_path, [of_coco(method, hits) for method, hits in methods.items()], against="soft")
    table = found[0]
    assert [table.title.partition(",")[0] for table in found] == ["COCO's average precision (OKS 0.5 to 0.95)", "NME"]
    assert table.columns == ("coco", "COCO")
    # levels 1 to 5: five of six are found, 84 of 101 recalls have a precision of 1; levels 6 to 10: one of six, 17
    means = {row.label: row.cells[0].mean for row in table.rows}
    expected = {"soft-argmax": 50 * (84 + 17) / 101, "triangular basis, N_s = 7": 100.0}
    expected["triangular basis, N_s = 10"] = 100 * 84 / 101
    assert means == pytest.approx(expected)
    assert [row.paper[1] for row in table.rows] == [64.5, None, 69.6]
    assert table.rows[1].cells[0].against.difference > 0


def test_the_distance_of_surfaces_is_a_mean_over_those_that_are_known(tmp_path):
    result = surface_result()
    table = the_table(tmp_path, [result])
    assert table.title == "Mean absolute distance of surfaces, pixels, split 'test'"
    assert table.rows[0].cells[0].mean == pytest.approx(np.nanmean(rows_of(result, "errors")))
    assert table.columns == ("slices", "MSHC")


def test_poses_in_space_have_their_errors_beside_the_papers(tmp_path):
    results = [image_result("bodies", method=method, length="box") for method in ("soft", "triangular-5")]
    for number, result in enumerate(results):
        result["metrics"]["images"] |= {"mpjpe": [60.0, None, 80.0 + number] + [70.0] * 9, "pa_mpjpe": [50.0] * 12}
    flat, joints, aligned = tables(tmp_path, results)
    assert [table.title.partition(",")[0] for table in (flat, joints, aligned)] == ["NME", "MPJPE", "PA-MPJPE"]
    assert joints.columns == ("bodies", "Human3.6M")
    assert [row.cells[0].mean for row in joints.rows] == pytest.approx([70, 70 + 1 / 11])
    assert [row.cells[0].mean for row in aligned.rows] == pytest.approx([50, 50])
    assert [row.paper[1] for table in (joints, aligned) for row in table.rows] == [50.4, 49.5, 39.5, 39.1]
    flat_only = image_result("bodies", length="box", seed=1)  # kept before poses were
    assert len(tables(tmp_path / "more", [*results, flat_only])) == 1


@pytest.mark.parametrize("threshold", [None, 0.05])
def test_the_peak_is_correlated_with_being_right(tmp_path, threshold):
    result = image_result(images=30)
    table = the_table(tmp_path, [result], "confidence", threshold=threshold)
    share = rows_of(result, "errors") / rows_of(result, "length")[:, None]
    known = np.isfinite(share)
    right = share[known] <= (0.1 if threshold is None else threshold)
    assert table.rows[0].cells[0].mean == pytest.approx(pearsonr(rows_of(result, "confidence")[known], right)[0])
    assert table.rows[0].paper == (None, 0.233)


def test_clouds_and_images_stand_in_tables_of_their_own(tmp_path):
    found = tables(tmp_path, [image_result(), detector_result()], "all")
    assert {(table.name, table.columns[0]) for table in found} >= {("pck", "mug"), ("images", "faces")}
    assert not [table for table in found if {"mug", "faces"} <= set(table.columns)]


def test_notes_speak_of_images(tmp_path):
    results = [image_result(), image_result(method="gaussian-5")]
    notes = " ".join(the_table(tmp_path, results, against="soft").notes)
    assert "interval over images" in notes
    assert "Images: faces 12." in notes
    assert "shapes" not in notes


def test_confidence_on_cocos_val_split_has_the_papers_row_beside(tmp_path):
    result = image_result("coco", length="box")
    result["metrics"]["split"] = "val"
    table = the_table(tmp_path, [result], "confidence")
    assert table.columns == ("coco", "COCO")
    assert table.rows[0].paper == (None, 0.233)
