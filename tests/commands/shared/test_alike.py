import pytest

from pcsargmax.commands.shared.alike import alike, data_name, method_label, over_seeds, told_apart


def result(name="mug", seed=0, *, split="test", shapes=("m0", "m1"), protocol="plain", **settings):
    return {
        "data": name,
        "split": split,
        "protocol": protocol,
        "shapes": {"model_id": list(shapes)},
        "settings": {"objective": "sampling", "num_samples": 10, "seed": seed, "lr": 1} | settings,
    }


def test_only_the_seed_and_places_are_not_counted():
    first = result()
    same = [
        result(seed=1),
        result("elsewhere/mug", 2, root="there", device="cuda", tensorboard=True),
    ]
    others = [result("chair"), result(split="val"), result(lr=2), result(num_samples=1), result(shapes=["m0"])]
    assert alike([first, *others[:2], same[0], *others[2:], same[1]]) == [[first, *same], *([one] for one in others)]


def test_texts_of_earlier_versions_and_lists_are_alike():
    old, new = result(shares="2,0,1", size="96x96"), result(seed=1, shares=[2.0, 0.0, 1.0], size=[96, 96])
    assert alike([old, new]) == [[old, new]]


def test_what_else_must_be_the_same():
    first, second = result(), result(seed=1, protocol="strict")
    assert alike([first, second]) == [[first, second]]
    assert alike([first, second], "protocol") == [[first], [second]]


@pytest.mark.parametrize("shapes", [{}, {"shapes": None}])
def test_results_that_tell_no_shapes_are_taken(shapes):
    bare = [{name: value for name, value in result(seed=seed).items() if name != "shapes"} | shapes for seed in (0, 1)]
    assert alike(bare) == [bare]


def test_names():
    assert (data_name(result("/a/teeth")), method_label(result())) == ("teeth", "sampling, N_s = 10")
    assert told_apart(["a", "b"], ["x", "x"]) == ["a", "b"]
    assert told_apart(["a", "b", "a"], ["x", "y", "z"]) == ["a, x", "b", "a, z"]
    assert told_apart(["a", "a", "a"], ["x", "y", "x"]) == ["a, x, 1", "a, y", "a, x, 3"]


def test_mean_and_deviation_by_hand():
    assert over_seeds([1.0, 2.0, 3.0], "{:.2f}".format) == "2.00\n± 1.00"
    assert over_seeds([1.0, 2.0], "{:.1f}".format, deviation=False) == "1.5"
    assert over_seeds([1.0], "{:.0f}".format) == "1"
    assert over_seeds([1.0, None], "{:.0f}".format) == "–"
