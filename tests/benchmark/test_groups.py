import json

import pytest
from reference.benchmark_results import detector_result, discovery_result, several_results, write_results

from pcsargmax.benchmark.groups import Variant, grouped, open_results


def opened(folder, *results):
    return open_results([write_results(folder, list(results))])


def test_results_of_folders_and_files_are_read_once(tmp_path):
    folder = write_results(tmp_path, [detector_result(), discovery_result()])
    (folder / ".half-written.json").write_text("{")
    (folder / "notes.txt").write_text("hello")
    file = next(folder.glob("*detector*.json"))
    found = open_results([folder, file])
    assert [result.kind for result in found] == ["detector", "discovery"]
    assert (found[0].data, found[0].method, found[0].seed, found[0].path) == ("mug", "soft", 0, file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "a result of version 2"),
        ({"kind": "image"}, "kind must be one of detector, discovery, images, got 'image'"),
        ({"metrics": {"split": "test", "unit": "raw"}}, "no shapes among its metrics: evaluate the run again"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, change, message):
    folder = write_results(tmp_path, [detector_result() | change])
    with pytest.raises(ValueError, match=rf"mug-.*-soft-seed0-00000000\.json: .*{message}"):
        open_results([folder])


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"no results \(\*\.json\) in {tmp_path}"):
        open_results([tmp_path])
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        open_results([tmp_path / "none.json"])
    (tmp_path / "cut.json").write_text('{"version": 1')
    with pytest.raises(ValueError, match=r"cut\.json: not a result"):
        open_results([tmp_path])


def test_results_that_differ_in_data_method_and_seed_share_a_group(tmp_path):
    (group,) = grouped(opened(tmp_path, *several_results()), "detector")
    assert group.differs == ""
    assert group.data == ["chair", "mug"]  # the paper's order
    assert [variant.method for variant in group.variants] == ["soft", "sampling-10", "sampling-30"]
    assert [result.seed for result in group.cells[Variant("soft"), "mug"]] == [0, 1, 2]
    assert (Variant("sampling-30"), "chair") not in group.cells
    assert group.changes == {}


def test_results_of_earlier_versions_share_a_group_with_new_ones(tmp_path):
    """Until 0.1 a result held the texts of the command line; now it holds lists and numbers."""
    old = detector_result(seed=0, shares="2,0,1", ids="0-9", sigma="auto")
    new = detector_result(seed=1, shares=[2, 0.0, 1.0], ids=list(range(10)), sigma="auto")
    default = [detector_result(seed=0, ids=""), detector_result(seed=1, ids=None)]
    first, second = sorted(grouped(opened(tmp_path, old, new, *default), "detector"), key=lambda group: group.differs)
    assert [len(group.results) for group in (first, second)] == [2, 2]
    assert {first.differs, second.differs} == {"ids=, shares=0.7,0.1,0.2", "ids=0-9, shares=2,0,1"}


def test_other_settings_make_another_group_and_say_so(tmp_path):
    results = [detector_result(seed=seed, epochs=30) for seed in (0, 1)]
    results += [detector_result(seed=0, epochs=120, lr=0.002), detector_result(data="chair", epochs=30)]
    first, second = grouped(opened(tmp_path, *results), "detector")
    assert (len(first.results), first.differs) == (3, "epochs=30, lr=0.001")
    assert (len(second.results), second.differs) == (1, "epochs=120, lr=0.002")
    assert second.changes == {"epochs": 120, "lr": 0.002}


@pytest.mark.parametrize("change", [{"split": "val"}, {"unit": "diagonal"}])
def test_other_splits_and_units_make_another_group(tmp_path, change):
    other = detector_result(seed=1, **change)
    groups = grouped(opened(tmp_path, detector_result(), other), "detector")
    ((name, value),) = change.items()
    assert [f"{name}={value}" in group.differs for group in groups] == [False, True]


def test_what_the_unit_came_to_counts_and_not_how_it_was_asked_for(tmp_path):
    results = [detector_result(), detector_result(seed=1)]
    results[1]["settings"]["unit"] = "raw"
    (group,) = grouped(opened(tmp_path, *results), "detector")
    assert (group.unit, group.changes) == ("raw", {})


def test_a_setting_that_came_later_has_its_default(tmp_path):
    old = detector_result(seed=1)
    del old["settings"]["presence_weight"]
    assert len(grouped(opened(tmp_path, detector_result(), old), "detector")) == 1


def test_settings_of_one_method_alone_make_a_variant_of_it(tmp_path):
    results = [detector_result(method="soft", target_variance=4.0), detector_result(method="soft", seed=1)]
    results += [detector_result(method="soft_vr"), detector_result(method="soft_vr", target_variance=4.0)]
    results += [detector_result(method="sampling-10", temperature_end=0.2, target_variance=4.0)]
    (group,) = grouped(opened(tmp_path, *results), "detector")
    assert [variant.label for variant in group.variants] == [
        "soft-argmax",
        "soft-argmax, V.R.",
        "soft-argmax, V.R., target_variance=4.0",
        "sampling, N_s = 10, temperature_end=0.2",
    ]


def test_methods_are_in_the_papers_order():
    methods = ["sampling-30", "closed_form-10", "other", "soft_dr", "sampling-5", "soft", "soft_vr"]
    ordered = sorted(map(Variant, methods), key=lambda variant: variant.order)
    assert [one.method for one in ordered] == [
        "soft",
        "soft_vr",
        "soft_dr",
        "closed_form-10",
        "sampling-5",
        "sampling-30",
        "other",
    ]
    assert [one.num_samples for one in ordered] == [0, 0, 0, 10, 5, 30, 0]
    assert ordered[-1].label == "other"


def test_one_experiment_twice_is_refused(tmp_path):
    message = r"mug, soft, seed 0: two results, .*-00000000\.json and .*-00000001\.json; move one away"
    with pytest.raises(ValueError, match=message):
        grouped(opened(tmp_path, detector_result(), detector_result(shift=2)), "detector")


def test_a_copy_of_a_result_is_taken_once(tmp_path):
    assert len(opened(tmp_path, detector_result(), detector_result())) == 1


def test_seeds_on_different_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mug, soft: .*seed0.* and .*seed1.* were measured on different shapes"):
        grouped(opened(tmp_path, detector_result(models=5), detector_result(seed=1, models=6)), "detector")
    other = detector_result(seed=1)
    other["metrics"]["shapes"]["model_id"][3] = "another"
    with pytest.raises(ValueError, match="were measured on different shapes; move away"):
        grouped(opened(tmp_path / "names", detector_result(), other), "detector")


def test_seeds_on_other_data_of_the_same_name_are_refused(tmp_path):
    made = [detector_result(seed=seed) | {"data_hash": told} for seed, told in enumerate(["a", None, "a"])]
    (group,) = grouped(opened(tmp_path / "a", *made), "detector")
    assert len(group.results) == 3  # an older one does not tell
    made[2]["data_hash"] = "b"
    with pytest.raises(ValueError, match="were measured on different shapes"):
        grouped(opened(tmp_path / "b", *made), "detector")


def test_what_the_code_did_before_a_setting_came_makes_another_group(tmp_path):
    older, same = discovery_result(seed=1), discovery_result(seed=2, edge_spacing=0.01)
    del older["settings"]["edge_spacing"]
    first, second = grouped(opened(tmp_path, discovery_result(), older, same), "discovery")
    assert (first.differs, len(first.results)) == ("edge_spacing=0.01", 2)
    assert second.differs == "edge_spacing=0.03"


def test_a_discovery_without_annotations_has_no_place(tmp_path):
    result = discovery_result()
    result["metrics"]["shapes"] = None
    assert grouped(opened(tmp_path, result), "discovery") == []


def test_what_the_paper_is_about(tmp_path):
    made = detector_result(data="chair")
    made["metrics"]["shapes"]["model_id"] = [f"chair{number:05d}" for number in range(12)]
    folder = detector_result(data="bed", unit="diagonal")
    teeth = detector_result(data="teeth")
    official = detector_result(data="cap")
    official["metrics"]["shapes"]["model_id"][0] = "cap0afe51c8e1bafdd1b2d2d9d1a6e7f"  # begins with the name by chance
    results = opened(tmp_path, made, folder, teeth, official, detector_result())
    found = {result.data: result.in_paper for result in results}
    assert found == {"chair": False, "bed": False, "teeth": False, "cap": True, "mug": True}


def test_the_made_up_results_are_such_as_a_benchmark_writes(tmp_path):
    from pcsargmax.benchmark.results import read_result, write_result

    write_result(tmp_path / "one.json", detector_result())
    assert read_result(tmp_path / "one.json") == json.loads(json.dumps(detector_result()))
