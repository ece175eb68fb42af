import itertools
import json
import math

import numpy as np
import pytest
import torch
from reference.symmetry import benchmark_labelings, isometries, least_mean_error, rotated

from pcsargmax.datasets import KeypointNet
from pcsargmax.datasets.keypointnet_files import read_category
from pcsargmax.metrics.pck import average_visible, correct, keypoint_errors
from pcsargmax.metrics.symmetry import (
    label_permutations,
    nearest_labeling,
    nearest_target,
    symmetric_errors,
    symmetric_targets,
)

UP = {"center": [0.0, 0.0, 0.0], "radius": 1.0, "normal": [0.0, 1.0, 0.0]}


def turning(ids, circle=None):
    return {"ids": ids, "is_circle": circle is not None, "circle": circle or {}}


def everything(k):
    return torch.ones(k, dtype=torch.bool)


def polygon(m, radius=1.0, height=0.0, first=0.0):
    """Corners (m, 3) of a regular polygon around y, in the order in which `rotated` turns."""
    start = np.array([radius * math.sin(first), height, radius * math.cos(first)])
    return np.stack([rotated(start, 2 * math.pi * i / m) for i in range(m)])


def as_set(permutations):
    return {tuple(row) for row in permutations.tolist()}


class TestPermutations:
    def test_a_reflection_exchanges_all_its_pairs_at_once(self):
        found = label_permutations({"reflection": [[0, 1], [2, 4]], "rotation": []}, range(5), everything(5))
        assert found.tolist() == [[0, 1, 2, 3, 4], [1, 0, 4, 3, 2]]
        assert found.dtype == torch.long

    def test_ids_are_not_channels(self):
        found = label_permutations({"reflection": [[7, 3]]}, [9, 7, 3], everything(3))
        assert found.tolist() == [[0, 1, 2], [0, 2, 1]]

    def test_nothing_annotated_leaves_the_identity(self):
        for nothing in (
            None,
            {},
            {"reflection": [], "rotation": []},
            {"reflection": [[1]], "rotation": [turning([2])]},
        ):
            assert label_permutations(nothing, range(3), everything(3)).tolist() == [[0, 1, 2]]

    def test_a_rotation_moves_on_along_the_list(self):
        found = label_permutations({"rotation": [turning([4, 2, 1])]}, range(5), everything(5))
        assert found.tolist() == [[0, 1, 2, 3, 4], [0, 4, 1, 3, 2], [0, 2, 4, 3, 1]]

    def test_kinds_choose(self):
        both = {"reflection": [[0, 1]], "rotation": [turning([2, 3])]}
        counts = {kinds: len(label_permutations(both, range(4), everything(4), kinds)) for kinds in ((), ("rotation",))}
        assert counts == {(): 1, ("rotation",): 2}
        assert label_permutations(both, range(4), everything(4), ["reflection"]).tolist()[1] == [1, 0, 2, 3]
        assert len(label_permutations(both, range(4), everything(4))) == 4

    @pytest.mark.parametrize("m", [3, 4, 5])
    def test_of_a_regular_polygon_they_are_its_isometries(self, m):
        # An asymmetric axis keeps up from down, so reflections are those through vertical planes.
        points = np.concatenate([polygon(m), [[0, 1, 0], [0, -0.3, 0]]])
        pairs = [[i, m - i] for i in range(1, (m + 1) // 2)]
        found = label_permutations(
            {"reflection": pairs, "rotation": [turning(list(range(m)))]}, range(m + 2), everything(m + 2)
        )
        assert len(found) == 2 * m
        assert as_set(found) == isometries(points)

    def test_of_a_box_with_two_planes_they_are_its_isometries(self):
        corners = np.array([[x, 0, z] for x, z in ((-2, -1), (2, -1), (2, 1), (-2, 1))] + [[0, 1, 0]])
        keypoints = torch.from_numpy(corners) + 0.1 * torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
        across_x, across_z = [[0, 1], [3, 2]], [[0, 3], [1, 2]]
        for groups in itertools.permutations(across_x + across_z):  # in whatever order they stand
            found = label_permutations({"reflection": groups}, range(5), everything(5), keypoints=keypoints)
            assert as_set(found) == isometries(corners)
            assert len(found) == 4

    def test_planes_of_which_a_keypoint_is_absent_are_left_out(self):
        corners = torch.tensor([[-2.0, 0, -1], [2, 0, -1], [2, 0, 1], [-2, 0, 1], [0, 1, -1], [0, 1, 1]])
        given = {"reflection": [[0, 1], [3, 2], [0, 3], [1, 2], [4, 5]]}
        for groups in itertools.permutations(given["reflection"]):  # 4 and 5 are never taken to be mirrored across x
            found = label_permutations({"reflection": groups}, range(6), everything(6), keypoints=corners)
            assert as_set(found) == isometries(corners)
        # 4 and 5 might be of either plane, were one of them not there; 0 and 1 are mirrored in both.
        visible = torch.tensor([True, True, True, True, True, False])
        assert len(label_permutations(given, range(6), visible, keypoints=corners)) == 1

    def test_several_planes_without_positions(self):
        with pytest.raises(ValueError, match=r"distinguished by the positions.*semantic id 1 in two groups"):
            label_permutations({"reflection": [[0, 1], [1, 2]]}, range(3), everything(3))
        assert len(label_permutations({"reflection": [[0, 1], [1, 0]]}, range(2), everything(2))) == 2

    def test_groups_of_unequal_size_turn_together(self):
        points = np.concatenate([polygon(4), polygon(8, 2.0, 0.5, 0.1), polygon(2, 3.0, 1.0, 0.2), [[0, 2, 0]]])
        groups = [turning([0, 1, 2, 3]), turning(list(range(4, 12)))]
        found = label_permutations({"rotation": groups}, range(15), everything(15))
        assert len(found) == 4
        assert found[1].tolist() == [1, 2, 3, 0, 6, 7, 8, 9, 10, 11, 4, 5, 12, 13, 14]
        groups.append(turning([12, 13]))
        found = label_permutations({"rotation": groups}, range(15), everything(15))
        assert as_set(found) == isometries(points)
        assert len(found) == 2
        assert len(label_permutations({"rotation": [turning([0, 1, 2]), *groups[1:]]}, range(15), everything(15))) == 1

    def test_the_order_around_the_axis_comes_from_the_positions(self):
        points = torch.from_numpy(np.concatenate([polygon(4), [[0, 1, 0], [0.1, -1, 0]]]))
        shuffled = {"rotation": [turning([0, 2, 1, 3])]}
        found = label_permutations(shuffled, range(6), everything(6), keypoints=points)
        assert found[1].tolist() == [1, 2, 3, 0, 4, 5]
        assert label_permutations(shuffled, range(6), everything(6))[1].tolist() == [2, 3, 1, 0, 4, 5]

    def test_what_needs_an_absent_keypoint_is_left_out_as_a_whole(self):
        both = {"reflection": [[0, 1], [2, 3]], "rotation": [turning([4, 5, 6])]}
        visible = everything(7)
        visible[3] = False
        assert len(label_permutations(both, range(7), visible)) == 3
        assert len(label_permutations(both, [0, 1, 2, 4, 5, 6], everything(6))) == 3
        visible[5] = False
        assert len(label_permutations(both, range(7), visible)) == 1

    def test_circles_relabel_nothing(self):
        found = label_permutations({"rotation": [turning([0, 1, 2], UP)]}, range(3), everything(3))
        assert found.tolist() == [[0, 1, 2]]


class TestTargets:
    def test_the_annotation_comes_first_and_absent_keypoints_stay(self):
        target = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 3)))
        target[5] = 0
        visible = torch.tensor([True] * 5 + [False])
        given = {"reflection": [[0, 1]], "rotation": [turning([2, 3], UP), turning([4, 5], UP)]}
        found = symmetric_targets(target, visible, given, range(6))
        assert found.shape == (72, 6, 3)
        assert torch.equal(found[0], target)
        assert torch.equal(found[1], target[[1, 0, 2, 3, 4, 5]])
        assert (found[:, 5] == 0).all()

    def test_without_circles_they_are_the_permuted_positions(self):
        points = torch.from_numpy(np.concatenate([polygon(4), [[0, 1, 0]]]))
        given = {"reflection": [[1, 3]], "rotation": [turning([0, 1, 2, 3])]}
        permutations = label_permutations(given, range(5), everything(5), keypoints=points)
        found = symmetric_targets(points, everything(5), given, range(5))
        assert torch.equal(found, points[permutations])

    def test_circles_turn_about_their_axis_with_the_other_groups(self):
        # Three legs, and above them a ring annotated at uneven angles, a little off the stated radius and level.
        ring = np.stack([rotated([r, h, 0], a) for a, r, h in ((0.1, 1, 1), (1.9, 1.02, 1), (4.0, 0.99, 1.01))])
        points = np.concatenate([polygon(3), ring, [[0, 2, 0]]])
        groups = [turning([3, 4, 5], UP | {"normal": [0, 2.0, 0]}), turning([0, 1, 2])]
        found = symmetric_targets(torch.from_numpy(points), everything(7), {"rotation": groups}, range(7))
        expected = np.stack([rotated(points, 2 * math.pi * i / 3) for i in range(3)])
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_circles_with_opposite_normals_turn_the_same_way(self):
        points = np.concatenate([polygon(2, 1.0), polygon(3, 0.5, 1.0)])
        circles = [turning([0, 1], UP), turning([2, 3, 4], UP | {"normal": [0, -1.0, 0]})]
        found = symmetric_targets(
            torch.from_numpy(points), everything(5), {"rotation": circles}, range(5), num_angles=8
        )
        expected = np.stack([rotated(points, 2 * math.pi * i / 8) for i in range(8)])
        np.testing.assert_allclose(found, expected, atol=1e-12)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_a_circle_may_lie_any_way(self, axis):
        center = np.array([3.0, -2.0, 5.0])
        normal = np.eye(3)[axis]
        points = np.random.default_rng(1).normal(size=(4, 3)) + center
        circle = {"center": center.tolist(), "radius": 9.0, "normal": normal.tolist()}
        given = {"rotation": [turning([0, 1, 2, 3], circle)]}
        found = symmetric_targets(torch.from_numpy(points), everything(4), given, range(4), num_angles=5)
        expected = np.stack([rotated(points, 2 * math.pi * i / 5, center, axis) for i in range(5)])
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_a_circle_without_its_numbers_is_about_the_vertical_through_its_mean(self):
        points = polygon(4, 2.0, 1.0) + np.array([5, 0, 7])
        given = {"rotation": [{"ids": [0, 1, 2, 3], "is_circle": True, "circle": {}}]}
        found = symmetric_targets(torch.from_numpy(points), everything(4), given, range(4), num_angles=12)
        expected = np.stack([rotated(points, 2 * math.pi * i / 12, [5, 0, 7]) for i in range(12)])
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_circles_cannot_turn_where_the_other_groups_cannot(self):
        given = {"rotation": [turning([0, 1], UP), turning([2, 3])]}
        visible = torch.tensor([True, True, True, False])
        assert len(symmetric_targets(torch.rand(4, 3), visible, given, range(4))) == 1

    @pytest.mark.parametrize(("m", "steps", "is_circle"), [(4, 4, False), (5, 5, False), (4, 36, True)])
    def test_on_a_turning_shape_they_are_what_the_benchmark_tries(self, m, steps, is_circle):
        points = np.concatenate([polygon(m, 0.4), [[0, 0.5, 0], [0, -0.1, 0]]])
        sites = np.concatenate([polygon(36 * m, 0.4), points])
        circle = UP | {"radius": 0.4} if is_circle else None
        given = {"rotation": [turning(list(range(m)), circle)]}
        found = symmetric_targets(torch.from_numpy(points), everything(m + 2), given, range(m + 2))
        expected = benchmark_labelings(points, sites, list(range(m)), steps)
        assert len(found) == steps
        # The benchmark turns the other way round; the labellings are the same ones.
        for labelling in expected:
            assert np.abs(found.numpy() - labelling).max(axis=(1, 2)).min() < 1e-9


class TestErrors:
    def test_a_mirrored_prediction_is_right(self):
        target = torch.rand(5, 3)
        given = {"reflection": [[0, 1], [2, 3]]}
        swapped = target[[1, 0, 3, 2, 4]]
        assert symmetric_errors(swapped, target, everything(5), given, range(5)).tolist() == [0] * 5
        plain = keypoint_errors(swapped[None], target[None], everything(5)[None])[0]
        assert (plain[:4] > 0).all()
        assert torch.equal(symmetric_errors(swapped, target, everything(5), given, range(5), ["rotation"]), plain)
        assert torch.equal(nearest_target(swapped, target, everything(5), given, range(5)), swapped)

    def test_one_labelling_holds_for_the_whole_model(self):
        target = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [-1, 1, 0], [1, 1, 0], [0, 2, 0]])
        half = target[[1, 0, 2, 3, 4]]  # one pair exchanged, the other not: by symmetry, no better than wrong
        found = symmetric_errors(half, target, everything(5), {"reflection": [[0, 1], [2, 3]]}, range(5))
        assert sorted(found.tolist()) == [0, 0, 0, 2, 2]

    def test_it_is_the_labelling_of_least_mean_error_over_visible_keypoints(self):
        generator = torch.Generator().manual_seed(0)
        given = {"reflection": [[0, 1], [2, 3]], "rotation": [turning([4, 5, 6])]}
        for _ in range(20):
            target, prediction = torch.rand(2, 8, 3, generator=generator, dtype=torch.float64)
            visible = torch.rand(8, generator=generator) < 0.9
            prediction[~visible] = torch.nan
            errors = symmetric_errors(prediction, target, visible, given, range(8))
            permutations = label_permutations(given, range(8), visible, keypoints=target)
            each = torch.stack([(prediction - target[row]).norm(dim=1)[visible] for row in permutations])
            torch.testing.assert_close(errors[visible], each[each.mean(dim=1).argmin()])
            assert torch.equal(errors.isnan(), ~visible)

    def test_a_keypoint_may_lie_anywhere_on_its_circle_all_by_one_angle(self):
        points = np.concatenate([polygon(4, 1.0, 0.5), [[0, 1, 0]]])
        given = {"rotation": [turning([0, 1, 2, 3], UP | {"center": [0, 0.5, 0]})]}
        target = torch.from_numpy(points)
        for angle in (0.0, 0.123456, 3.0, 5.4321):
            found = symmetric_errors(torch.from_numpy(rotated(points, angle)), target, everything(5), given, range(5))
            assert found.max() < 2e-5
        apart = points.copy()
        apart[:2] = rotated(points[:2], 0.3)  # two of four turned: no one angle makes all right
        found = symmetric_errors(torch.from_numpy(apart), target, everything(5), given, range(5))
        np.testing.assert_allclose(found.sort().values, [0, 0, 0] + [2 * math.sin(0.15)] * 2, atol=1e-6)
        off = torch.from_numpy(rotated(points, 1.0) * [1.1, 1, 1.1])  # a tenth off the circle
        found = symmetric_errors(off, target, everything(5), given, range(5))
        np.testing.assert_allclose(found, [0.1] * 4 + [0], atol=1e-5)

    def test_the_angle_is_the_best_of_all(self):
        rng = np.random.default_rng(2)
        for _ in range(10):
            points = rng.normal(size=(6, 3))
            prediction = rng.normal(size=(6, 3))
            given = {"rotation": [turning([0, 1, 2], UP), turning([3, 4], UP)]}

            def turn(angle, points=points):
                return np.concatenate([rotated(points[:5], angle), points[5:]])

            found = symmetric_errors(
                torch.from_numpy(prediction), torch.from_numpy(points), everything(6), given, range(6)
            )
            best = least_mean_error(prediction, turn)
            assert found.mean().item() == pytest.approx(best, abs=1e-6)

    def test_reflections_and_free_turns_combine(self):
        points = np.concatenate([polygon(4, 1.0, first=0.2), [[0.5, 1, 0], [-0.5, 1, 0]]])
        given = {"reflection": [[4, 5]], "rotation": [turning([0, 1, 2, 3], UP)]}
        moved = np.concatenate([rotated(points[:4], 0.7), points[[5, 4]]])
        found = symmetric_errors(torch.from_numpy(moved), torch.from_numpy(points), everything(6), given, range(6))
        assert found.max() < 2e-5

    def test_the_mean_error_never_grows_and_a_right_prediction_stays_right(self):
        generator = torch.Generator().manual_seed(3)
        given = {"reflection": [[0, 1]], "rotation": [turning([2, 3, 4], UP)]}
        for _ in range(10):
            target, prediction = torch.rand(2, 6, 3, generator=generator)
            plain = keypoint_errors(prediction[None], target[None], everything(6)[None]).mean()
            assert symmetric_errors(prediction, target, everything(6), given, range(6)).mean() <= plain + 1e-7
            assert symmetric_errors(target, target, everything(6), given, range(6)).max() == 0

    def test_no_visible_keypoint_gives_no_error(self):
        given = {"rotation": [turning([0, 1], UP)]}
        found = symmetric_errors(torch.rand(2, 3), torch.rand(2, 3), ~everything(2), given, range(2))
        assert found.isnan().all()

    def test_nearest_labelling_of_a_batch(self):
        targets = torch.rand(3, 4, 5, 3)
        which = torch.tensor([2, 0, 3])
        prediction = targets[torch.arange(3), which].clone()
        prediction[:, 4] = 100.0
        visible = torch.tensor([True] * 4 + [False]).expand(3, 5)
        assert torch.equal(nearest_labeling(prediction, targets, visible), which)
        assert nearest_labeling(prediction, targets, torch.zeros(3, 5, dtype=torch.bool)).tolist() == [0, 0, 0]

    def test_pck_with_and_without(self):
        target, given = torch.rand(3, 4, 3), {"reflection": [[0, 1], [2, 3]]}
        swapped = target[:, [1, 0, 3, 2]].clone()
        swapped[0] = target[0]
        errors = torch.stack(
            [symmetric_errors(p, t, everything(4), given, range(4)) for p, t in zip(swapped, target, strict=True)]
        )
        without = keypoint_errors(swapped, target, torch.ones(3, 4, dtype=torch.bool))
        assert average_visible(correct(without, (0.01,))).item() == pytest.approx(1 / 3)
        assert average_visible(correct(errors, (0.01,))).item() == 1


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"semantic_ids": [0, 1, 1]}, r"semantic_ids must differ, got \[0, 1, 1\]"),
            ({"semantic_ids": [0, 1]}, r"visible must be bool of shape \(2,\), got torch.bool of shape \(3,\)"),
            ({"visible": torch.ones(3)}, r"visible must be bool of shape \(3,\), got torch.float32 of shape \(3,\)"),
            ({"target": torch.rand(3, 2)}, r"target must be of shape \(3, 3\), got \(3, 2\)"),
            ({"kinds": ["mirror"]}, "kinds must be among reflection, rotation, got 'mirror'"),
            ({"num_angles": 0}, "num_angles must be at least 1, got 0"),
            (
                {"symmetries": {"reflection": [[0, 1, 2]]}},
                r"a reflection group must be two semantic ids.*got \[0, 1, 2\]",
            ),
            (
                {"symmetries": {"rotation": [turning([0, 1]), turning([2, 1])]}},
                "a keypoint must be in one rotation group at most, got semantic id 1 twice",
            ),
            (
                {"symmetries": {"rotation": [turning([0, 1], {"center": [0, 0], "normal": [0, 1, 0]})]}},
                r"expected the center of a circle to be three finite numbers, got \[0, 0\]",
            ),
            (
                {"symmetries": {"rotation": [turning([0, 1], {"center": [0, 0, 0], "normal": [0, 0, 0]})]}},
                r"expected the normal of a circle to be three finite numbers, got \[0, 0, 0\]",
            ),
            (
                {"symmetries": {"rotation": [turning([0, 1], {"center": "here"})]}},
                "expected the center of a circle to be three finite numbers, got 'here'",
            ),
        ],
    )
    def test_is_named(self, change, message):
        given = {"target": torch.rand(3, 3), "visible": everything(3), "symmetries": None, "semantic_ids": range(3)}
        with pytest.raises(ValueError, match=message):
            symmetric_targets(**(given | change))

    def test_a_broken_prediction_is_named(self):
        with pytest.raises(ValueError, match="preds must be finite where visible"):
            symmetric_errors(torch.full((2, 3), torch.nan), torch.rand(2, 3), everything(2), None, range(2))


def test_labellings_of_real_chairs_are_geometric(shared_data):
    """What the annotation calls a symmetry moves few keypoints far: of all 999 chairs, also the bases that turn."""
    category = read_category(shared_data / "keypointnet", "chair")
    counts, moved = {}, {"reflection": [], "rotation": []}
    for annotation in category.models.values():
        keypoints = {k.semantic_id: k.xyz for k in annotation.keypoints}
        ids, points = list(keypoints), torch.tensor(list(keypoints.values()), dtype=torch.float64)
        for kind, distances in moved.items():
            found = symmetric_targets(points, everything(len(ids)), annotation.symmetries, ids, [kind])
            counts[kind, len(found)] = counts.get((kind, len(found)), 0) + 1
            if kind == "reflection" and len(found) == 2:
                at = [ids.index(i) for group in annotation.symmetries["reflection"] for i in group]
                mirrored = found[1, at] * torch.tensor([-1.0, 1, 1])
                distances.append((mirrored - points[at]).norm(dim=1).mean())
            if kind == "rotation" and len(found) > 1:
                star = next(g["ids"] for g in annotation.symmetries["rotation"])
                at = [ids.index(i) for i in star]
                center = points[at].mean(dim=0)
                for step in range(len(found)):
                    turned = rotated(points[at].numpy(), 2 * math.pi * step / len(found), center.numpy())
                    distances.append(np.linalg.norm(turned - found[step, at].numpy(), axis=1).mean())
    assert counts == {("reflection", 2): 999, ("rotation", 1): 903, ("rotation", 5): 77, ("rotation", 4): 19}
    assert np.median(moved["reflection"]) < 0.02
    assert np.median(moved["rotation"]) < 0.02
    assert np.quantile(moved["rotation"], 0.95) < 0.05


def test_items_of_the_data_set_serve(box_root, tmp_path):
    """`symmetries`, `semantic_ids` and channels fit together, with `ids` too."""
    entries = json.loads((box_root / "annotations" / "box.json").read_text())
    entries[1]["symmetries"] = {"reflection": [{"kp_indexes": [0, 1]}, {"kp_indexes": [2, 3]}], "rotation": []}
    root = tmp_path / "root"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "box.json").write_text(json.dumps(entries))
    for name in ("pcds", "splits"):
        (root / name).symlink_to(box_root / name)
    for ids, expected in ((None, [1, 0, 4, 3, 2]), ([4, 1, 2, 0], [2, 3, 0, 1])):
        dataset = KeypointNet(root, "box", ["m01"], ids=ids)
        item = dataset[0]
        found = label_permutations(item.symmetries, dataset.semantic_ids, item.keypoint_visible[0])
        assert found.tolist() == [list(range(len(expected))), expected]
