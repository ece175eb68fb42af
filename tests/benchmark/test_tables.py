from itertools import product
from statistics import fmean, median

import pytest
import torch
from reference import tables as plain
from reference.benchmark_results import detector_result, discovery_result, several_results, write_results

from pcsargmax.benchmark import paper
from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.tables import MEAN, TABLES, make_tables
from pcsargmax.metrics import DAS


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    return open_results([write_results(tmp_path_factory.mktemp("results"), several_results())])


def opened(folder, *results):
    return open_results([write_results(folder, list(results))])


def the_table(results, name="pck", **options):
    (table,) = make_tables(results, name, **({"num_bootstrap": 50} | options))
    return table


def cells(table):
    """{(row, column): (cell, paper)}."""
    return {
        (row.label, column): pair
        for row in table.rows
        for column, *pair in zip(table.columns, row.cells, row.paper, strict=True)
    }


def chosen(data, method, kind="detector"):
    return [
        result
        for result in several_results()
        if (result["data"], result["method"], result["kind"]) == (data, method, kind)
    ]


METHODS = {"soft-argmax": "soft", "sampling, N_s = 10": "sampling-10", "sampling, N_s = 30": "sampling-30"}


@pytest.mark.parametrize(("estimate", "threshold"), [("expectation", None), ("snapped", 0.02)])
def test_pck_is_that_of_a_plain_bootstrap(several, estimate, threshold):
    table = the_table(several, estimate=estimate, threshold=threshold, seed=1)
    assert table.columns == ("chair", "mug", MEAN)
    assert [row.label for row in table.rows] == list(METHODS)
    found = cells(table)
    for (label, method), data in product(METHODS.items(), ("chair", "mug")):
        results = chosen(data, method)
        cell, _ = found[label, data]
        if not results:
            assert (method, data, cell) == ("sampling-30", "chair", None)
            continue
        expected = plain.cell(results, lambda r, m: plain.pck(r, estimate, threshold or 0.01, m), 50, 1)
        assert (cell.mean, cell.deviation, cell.low, cell.high) == pytest.approx(expected)


def test_das_is_that_of_a_plain_computation(several):
    published, above_chance = make_tables(several, "das", num_bootstrap=20)
    for label, method in {"soft-argmax": "soft", "sampling, N_s = 1": "sampling-1"}.items():
        cell, number = cells(published)[label, "mug"]
        values = [plain.das(result, range(12)) for result in chosen("mug", method, "discovery")]
        assert list(cell.values.values()) == pytest.approx(values)
        assert cell.mean == pytest.approx(fmean(values))
        assert cell.low < cell.mean < cell.high
        assert number == paper.DAS[method]["mug"]
        corrected, number = cells(above_chance)[label, "mug"]
        assert corrected.mean < cell.mean
        assert number is None


def test_correlation_is_that_of_a_plain_bootstrap(several):
    both = make_tables(several, "confidence", data=["mug"], threshold=0.012, num_bootstrap=50)
    assert [table.columns for table in both] == [("mug", "COCO"), ("mug",)]
    for (label, method), (table, name) in product(METHODS.items(), zip(both, ("peak", "confidence"), strict=True)):
        cell, number = cells(table)[label, "mug"]
        results = chosen("mug", method)
        expected = plain.cell(results, lambda r, m, n=name: plain.correlation(r, "expectation", 0.012, m, n), 50, 0)
        assert (cell.mean, cell.deviation, cell.low, cell.high) == pytest.approx(expected)
        assert number is None
    for label, method in METHODS.items():
        assert cells(both[0])[label, "COCO"] == [None, 0.233 if method == "soft" else 0.423]


def test_confidence_is_measured_at_what_it_is_meant_for(several):
    titles = [table.title for table in make_tables(several, "confidence", num_bootstrap=5)]
    assert all("an error of the expectation of at most 2% of the diagonal" in title for title in titles)


def test_the_mean_is_of_all_columns_or_empty(several):
    found = cells(the_table(several))
    for label in ("soft-argmax", "sampling, N_s = 10"):
        parts, (mean, number) = [found[label, data] for data in ("chair", "mug")], found[label, MEAN]
        assert mean.mean == pytest.approx(fmean(cell.mean for cell, _ in parts))
        by_seed = [fmean(cell.values[seed] for cell, _ in parts) for seed in range(3)]
        assert list(mean.values.values()) == pytest.approx(by_seed)
        assert mean.num_models == 24
        assert number == pytest.approx(fmean(number for _, number in parts))
    assert found["sampling, N_s = 30", MEAN] == [None, (39.2 + 29.9) / 2]


def test_one_data_set_has_no_mean(several):
    assert the_table(several, data=["mug"]).columns == ("mug",)


def test_the_papers_row_stands_where_it_may_be_held_against(several, tmp_path):
    found = cells(the_table(several))
    assert found["soft-argmax", "mug"][1] == 23.9
    assert found["sampling, N_s = 30", "chair"] == [None, 39.2]
    for table in (
        the_table(several, threshold=0.02),
        the_table(opened(tmp_path / "a", detector_result(split="val"))),
        the_table(opened(tmp_path / "b", detector_result(unit="diagonal"))),
        the_table(opened(tmp_path / "c", detector_result(data="teeth"))),
        the_table(opened(tmp_path / "d", detector_result(method="closed_form-10"))),
    ):
        assert all(number is None for row in table.rows for number in row.paper)


def test_the_mean_over_all_categories_is_the_printed_one(several):
    table = the_table(several, data=paper.CATEGORIES[::-1], methods=["soft", "sampling-10"])
    assert table.columns == (*paper.CATEGORIES[::-1], MEAN)
    assert [row.paper[-1] for row in table.rows] == [38.2, 39.7]
    assert all(row.cells[-1] is None for row in table.rows)
    (published, _) = make_tables(several, "das", data=paper.CATEGORIES, num_bootstrap=10)
    assert [row.paper[-1] for row in published.rows] == [59.1, 62.9]


def test_samples_are_columns_and_data_rows(several):
    supervised, discovered = make_tables(several, "samples", num_bootstrap=50)
    assert supervised.columns == ("N_s = 10", "N_s = 30")
    assert [row.label for row in supervised.rows] == ["chair", "mug", MEAN, "COCO, mAP (paper, Table 2)"]
    of_methods, of_samples = cells(the_table(several)), cells(supervised)
    for data, number in product(("chair", "mug", MEAN), (10, 30)):
        assert of_samples[data, f"N_s = {number}"] == of_methods[f"sampling, N_s = {number}", data]
    assert supervised.rows[-1].paper == (68.2, 68.3)
    assert [row.reference for row in supervised.rows] == [False, False, False, True]
    assert discovered.columns == ("N_s = 1",)


def test_there_is_no_table_of_samples_without_any(tmp_path):
    results = opened(tmp_path, detector_result(), detector_result(method="closed_form-10"))
    assert [table.name for table in make_tables(results, num_bootstrap=5)] == ["pck", *["confidence"] * 2]
    with pytest.raises(ValueError, match="no results for table 'samples'"):
        make_tables(results, "samples")


def test_methods_are_tested_against_one_on_the_same_shapes(several):
    table = the_table(several, against="soft")
    assert table.against == "soft-argmax"
    found = cells(table)
    for data in ("chair", "mug", MEAN):
        ours, base = (found[label, data][0] for label in ("sampling, N_s = 10", "soft-argmax"))
        assert ours.against.difference == pytest.approx(ours.mean - base.mean)
        assert ours.against.low < ours.against.difference < ours.against.high
        assert base.against is None
    assert any("Differences are from soft-argmax" in note for note in table.notes)


def test_the_baseline_need_not_be_shown(several):
    table = the_table(several, methods=["sampling-10"], against="soft")
    assert [row.label for row in table.rows] == ["sampling, N_s = 10"]
    assert table.rows[0].cells[0].against is not None


def test_why_there_is_no_test_is_said(tmp_path):
    results = [detector_result(), detector_result(method="sampling-10", models=10)]
    table = the_table(opened(tmp_path / "a", *results), against="soft")
    assert table.rows[1].cells[0].against is None
    assert "Not tested, since measured on other shapes: sampling, N_s = 10 on mug." in table.notes
    results = [detector_result(), detector_result(method="sampling-10", epochs=30)]
    tables = make_tables(opened(tmp_path / "b", *results), "pck", against="soft", num_bootstrap=5)
    notes = [[note for note in table.notes if note.startswith("No test")] for table in tables]
    assert sorted(map(len, notes)) == [0, 1]


def test_results_of_other_settings_get_a_table_of_their_own(tmp_path):
    results = [detector_result(epochs=30), detector_result(seed=1, epochs=120), detector_result(seed=2, epochs=120)]
    first, second = make_tables(opened(tmp_path, *results), "pck", num_bootstrap=5)
    assert first.title.endswith("(epochs=120)")
    assert second.title.endswith("(epochs=30)")
    assert list(first.rows[0].cells[0].values) == [1, 2]
    assert "Settings other than the defaults: epochs=120." in first.notes


def test_all_is_what_there_are_results_of(several, tmp_path):
    assert {table.name for table in make_tables(several, num_bootstrap=5)} == set(TABLES) - {"images"}
    discovered = make_tables(opened(tmp_path, discovery_result()), num_bootstrap=5)
    assert [table.name for table in discovered] == ["das", "das"]


def test_on_other_shapes_there_is_neither_best_nor_test(tmp_path):
    from pcsargmax.benchmark.formats import as_markdown

    results = [detector_result(data, method) for data in ("mug", "chair") for method in ("soft", "soft_vr")]
    other = detector_result("mug", "sampling-10", shift=0.1, models=12)
    other["metrics"]["shapes"]["model_id"][0] = "another"
    table = the_table(opened(tmp_path / "a", *results, other), against="soft")
    assert table.mixed == ("mug", MEAN)
    found = cells(table)
    assert found["sampling, N_s = 10", "mug"][0].against is None
    assert found["soft-argmax, V.R.", "mug"][0].against is not None
    bold = [line.count("**") // 2 for line in as_markdown([table]).splitlines() if line.startswith("|")]
    assert sum(bold) == 1  # of chairs alone
    hashed = [result | {"data_hash": result["method"]} for result in results[:2]]
    table = the_table(opened(tmp_path / "c", *hashed), against="soft")
    assert (table.mixed, cells(table)["soft-argmax, V.R.", "mug"][0].against) == (("mug", MEAN), None)


def test_the_mean_is_over_the_seeds_that_all_data_have(tmp_path):
    pairs = [("mug", 0), ("mug", 1), ("chair", 1), ("chair", 2)]
    found = cells(the_table(opened(tmp_path / "a", *(detector_result(data, seed=seed) for data, seed in pairs))))
    parts = [found["soft-argmax", data][0].values[1] for data in ("mug", "chair")]
    mean = found["soft-argmax", MEAN][0]
    assert mean.values == pytest.approx({1: fmean(parts)})
    assert mean.mean == pytest.approx(fmean(parts))
    apart = opened(tmp_path / "b", detector_result(), detector_result("chair", seed=1))
    assert cells(the_table(apart))["soft-argmax", MEAN][0] is None


def test_the_paper_is_no_source_where_only_its_row_on_images_stands(several, tmp_path):
    table = the_table(opened(tmp_path, detector_result("teeth", "sampling-10")), "samples")
    assert table.rows[-1].reference
    assert not any("Table 6" in note for note in table.notes)
    assert any("Table 6" in note for note in make_tables(several, "samples", num_bootstrap=5)[0].notes)


def trained_up_to_symmetry(times=0.5, trust=0.25, **settings):
    """A detector whose errors up to symmetry are shares of the plain ones."""
    result = detector_result(symmetry="reflection", **settings)
    shapes = result["metrics"]["shapes"]
    shrunk = {
        share: [[None if e is None else share * e for e in row] for row in shapes["errors"]["expectation"]]
        for share in (times, trust)
    }
    result["metrics"]["symmetric"] = {"kinds": ["reflection"], "errors": {"expectation": shrunk[times]}}
    shapes["trust_errors"] = shrunk[trust]
    return result


def test_what_was_trained_up_to_a_symmetry_is_shown_with_and_without(tmp_path):
    result = trained_up_to_symmetry()
    plainly, up_to = make_tables(opened(tmp_path, result), "pck", threshold=0.01, num_bootstrap=20)
    assert plainly.title.startswith("PCK@0.01 of the expectation, %, plain errors, split 'test'")
    assert up_to.title.startswith("PCK@0.01 of the expectation, %, errors up to symmetry, split 'test'")
    assert (plainly.rows[0].paper, up_to.rows[0].paper) == ((23.9,), (None,))
    for table, share in ((plainly, 1), (up_to, 0.5)):
        assert table.rows[0].cells[0].mean == pytest.approx(plain.pck(result, "expectation", 0.01 / share, range(12)))
    for distance, table in (("euclidean", plainly), ("symmetric", up_to)):
        assert make_tables(opened(tmp_path, result), "pck", distance=distance, num_bootstrap=20) == [table]
    assert len(make_tables(opened(tmp_path / "n", trained_up_to_symmetry(method="sampling-10")), "samples")) == 2


def test_correlation_up_to_the_symmetry_of_the_training(tmp_path):
    result = trained_up_to_symmetry()
    tables = make_tables(opened(tmp_path, result), "confidence", threshold=0.006, num_bootstrap=20)
    told = ["plain errors", "errors up to the symmetry of the training"]
    assert [table.title.split(", ")[1] for table in tables] == told * 2
    for table, (name, share) in zip(tables, product(("peak", "confidence"), (1, 0.25)), strict=True):
        expected = plain.correlation(result, "expectation", 0.006 / share, range(12), name)
        assert table.rows[0].cells[0].mean == pytest.approx(expected)
    assert len(make_tables(opened(tmp_path, result), "confidence", estimate="snapped", num_bootstrap=5)) == 2


def test_errors_have_a_name_only_where_some_are_up_to_a_symmetry(several, tmp_path):
    tables = make_tables(several, num_bootstrap=5)
    assert not any("errors" in table.title for table in tables)
    result = detector_result()
    result["metrics"]["symmetric"] = {"errors": result["metrics"]["shapes"]["errors"]}
    table = the_table(opened(tmp_path / "a", result), distance="symmetric")
    assert "errors up to symmetry" in table.title
    result = trained_up_to_symmetry()
    result["metrics"]["shapes"]["trust_errors"] = None
    with pytest.raises(ValueError, match="no trust_errors among its shapes: evaluate the run again"):
        make_tables(opened(tmp_path / "b", result), "confidence")


def test_the_same_seed_gives_the_same_table(several):
    assert make_tables(several, seed=3, num_bootstrap=20) == make_tables(several[::-1], seed=3, num_bootstrap=20)


def test_pck_is_what_evaluate_says(box_run, tmp_path):
    from pcsargmax.benchmark.results import write_result
    from pcsargmax.runs.load import load_run

    metrics = load_run(box_run).evaluate("test", thresholds=(0.05, 0.2))
    write_result(tmp_path / "box.json", detector_result("box") | {"metrics": metrics})
    for estimate, threshold in product(("expectation", "snapped", "mode"), (0.05, 0.2)):
        table = the_table(open_results([tmp_path]), estimate=estimate, threshold=threshold, num_bootstrap=1000)
        cell, name = table.rows[0].cells[0], f"pck@{threshold}"
        expected = [100 * metrics[estimate][f"{name}{end}"] for end in ("", "/low", "/high")]
        assert [cell.mean, cell.low, cell.high] == pytest.approx(expected)
    assert cell.num_models == 3


def test_figures_up_to_symmetry_are_what_evaluate_says(box_run, tmp_path):
    from dataclasses import replace

    from pcsargmax.benchmark.results import write_result
    from pcsargmax.runs.load import load_run

    run = load_run(box_run)
    run = replace(run, settings=replace(run.settings, symmetry="reflection"))
    metrics = run.evaluate("test", thresholds=(0.1,), symmetry="all")
    write_result(tmp_path / "box.json", detector_result("box", symmetry="reflection") | {"metrics": metrics})
    results = open_results([tmp_path])
    _, up_to = make_tables(results, "pck", threshold=0.1, num_bootstrap=5)
    assert up_to.rows[0].cells[0].mean == pytest.approx(100 * metrics["symmetric"]["expectation"]["pck@0.1"])
    shapes = metrics["shapes"]
    middle = median(e for row in shapes["trust_errors"] for e in row if e is not None)
    *_, trust = make_tables(results, "confidence", threshold=middle, num_bootstrap=5)
    assert "Pearson's r of confidence" in trust.title
    assert "errors up to the symmetry of the training" in trust.title
    told = {"metrics": {"shapes": shapes | {"errors": {"expectation": shapes["trust_errors"]}}}}
    expected = plain.correlation(told, "expectation", middle, range(3))
    assert trust.rows[0].cells[0].mean == pytest.approx(expected)


def test_das_is_what_its_metric_says(tmp_path):
    metric = DAS(seed=0).set_dtype(torch.float64)
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(1, 6, 3, generator=generator)
    near = [places + 0.3 * torch.rand(8, 6, 3, generator=generator) for _ in range(2)]
    visible = torch.rand(8, 6, generator=generator) < 0.8
    metric.update(near[0][:, :4], near[1], visible)
    result, labels, values = discovery_result(models=8), metric.labels._asdict(), metric.compute()
    result["metrics"]["shapes"] |= {name: labels[name].tolist() for name in labels if name != "distances"}
    tables = make_tables(opened(tmp_path, result), "das", num_bootstrap=1000)
    for table, name in zip(tables, ("das", "das_corrected"), strict=True):
        cell = table.rows[0].cells[0]
        expected = [100 * values[f"{name}{end}"].item() for end in ("", "/low", "/high")]
        assert [cell.mean, cell.low, cell.high] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "map"}, "table must be one of pck, das, samples, confidence, images or all, got 'map'"),
        ({"data": ["mgu"]}, "data must be of KeypointNet or the results, chair, mug, got 'mgu'"),
        ({"methods": ["sampling"]}, "methods must be among those of the results, soft, .*, got 'sampling'"),
        ({"against": "sofd"}, "methods must be among those of the results, soft, .*, got 'sofd'"),
        ({"estimate": "template"}, "estimate must be one of expectation, snapped for euclidean errors, got 'template'"),
        ({"estimate": "median"}, "estimate must be one of expectation, snapped for euclidean errors, got 'median'"),
        ({"threshold": -0.1}, "thresholds must be positive"),
        ({"num_bootstrap": 0}, "num_bootstrap must be at least 1, got 0"),
        ({"data": ["bed"]}, r"no results for table 'all', only of chair \(detector, sampling-10\), chair"),
    ],
)
def test_arguments_that_do_not_fit_are_named(several, options, message):
    with pytest.raises(ValueError, match=message):
        make_tables(several, **options)
