from reference.benchmark_results import detector_result, discovery_result, several_results, write_results

from pcsargmax.benchmark.groups import open_results
from pcsargmax.benchmark.tables import make_tables


def notes(folder, *results, **options):
    found = open_results([write_results(folder, list(results))])
    (table,) = make_tables(found, "pck", num_bootstrap=5, **options)
    return table.notes


def test_they_say_how_the_numbers_were_made(tmp_path):
    text = " ".join(notes(tmp_path, *several_results()))
    assert "over seeds 0, 1, 2; 95 % interval over shapes, by bootstrap (5 resamples)." in text
    assert "Shapes: chair 12, mug 12. Lengths in raw units." in text
    assert "Table 6" in text
    assert "All settings are the defaults." in text
    assert "Fewer seeds" not in text
    assert "Code: 0123456." in text


def test_they_call_a_collapsed_result_so(tmp_path):
    results = [discovery_result(seed=seed) for seed in (0, 1, 2)]
    for result in results:
        result["metrics"]["collapsed"] = result["seed"] != 1
    found = open_results([write_results(tmp_path, results)])
    for table in make_tables(found, "das", num_bootstrap=5):
        assert any(note.startswith("COLLAPSED") and "soft-argmax on mug, seeds 0, 2." in note for note in table.notes)
    assert not any(note.startswith("COLLAPSED") for note in make_tables(found[1:2], "das", num_bootstrap=5)[0].notes)


def test_they_say_what_is_missing(tmp_path):
    results = [detector_result(seed=seed) for seed in (0, 1, 4)]
    results += [detector_result(method="sampling-30", seed=1), detector_result(data="chair", seed=0)]
    found = notes(tmp_path, *results)
    assert "Fewer seeds: soft-argmax on chair: 0; sampling, N_s = 30 on mug: 1." in found


def test_they_tell_settings_split_and_unit(tmp_path):
    found = notes(tmp_path / "a", detector_result(mirror="x", ids="0-9", split="val", unit="diagonal"))
    assert "Settings other than the defaults: ids=0-9, mirror=x." in found
    assert "No numbers of the paper: it measures on split 'test'." in found
    assert any("shares of the bounding-box diagonal" in note for note in found)


def test_they_tell_of_the_paper_only_beside_its_numbers(tmp_path):
    assert "Paper: Table 6; its distance is not stated." in notes(tmp_path / "a", detector_result())
    assert "Table 6" not in " ".join(notes(tmp_path / "b", detector_result("teeth")))


def test_they_tell_which_number_is_on_other_shapes(tmp_path):
    results = [detector_result(), detector_result(method="soft_vr"), detector_result(method="sampling-10", models=10)]
    found = notes(tmp_path, *results)
    assert "Shapes: mug 10 or 12. Lengths in raw units." in found
    assert "Measured on other shapes than the rest, and not to be compared: sampling, N_s = 10 on mug." in found


def test_they_tell_that_shapes_were_seen_in_training(tmp_path):
    seen = detector_result()
    seen["metrics"]["seen_in_training"] = 3
    text = "Flattered, as some of the shapes were seen in training: soft-argmax on mug."
    assert text in notes(tmp_path / "a", seen, detector_result(method="soft_vr"))
    assert text not in notes(tmp_path / "b", detector_result())


def test_they_tell_the_seeds_of_a_mean(tmp_path):
    results = [detector_result(data, seed=seed) for data, seed in [("mug", 0), ("mug", 1), ("chair", 1), ("chair", 2)]]
    results += [detector_result("mug", "soft_vr"), detector_result("chair", "soft_vr", 1)]
    found = notes(tmp_path, *results)
    assert "The mean of soft-argmax is over seeds 1 only: all data are to have the same ones." in found
    assert "The mean of soft-argmax, V.R. is missing: all data are to have the same ones." in found


def test_one_seed_has_no_mean(tmp_path):
    found = notes(tmp_path, detector_result(seed=3), against="soft")
    assert found[0] == "Seed 3; 95 % interval over shapes, by bootstrap (5 resamples)."
    assert not any("Differences" in note for note in found)


def test_they_tell_what_is_not_defined(tmp_path):
    found = open_results([write_results(tmp_path, [detector_result(shift=0.001), detector_result("teeth")])])
    for table in make_tables(found, "confidence", num_bootstrap=5):
        assert table.rows[0].cells[0] is None
        assert "Not defined, as all keypoints are alike in it: soft-argmax on mug." in table.notes


def test_every_version_of_the_code_is_told(tmp_path):
    results = [detector_result(seed=seed) | {"commit": commit} for seed, commit in enumerate(["a" * 40, None])]
    results.append(detector_result(seed=2) | {"commit": "b" * 40 + "+changed"})
    assert "Code: aaaaaaa, bbbbbbb+changed." in notes(tmp_path / "a", *results)
    results = [detector_result() | {"commit": f"{'c' * 40}, {'d' * 40}+changed"}]
    assert "Code: ccccccc, ddddddd+changed." in notes(tmp_path / "b", *results)
