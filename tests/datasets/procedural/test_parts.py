import numpy as np
import pytest

from pcsargmax.datasets.procedural.model import finish, thin
from pcsargmax.datasets.procedural.parts import Shape, bar, box, loft, ring, tube


def area_and_volume(part):
    a, b, c = (part.vertices[part.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return area, np.einsum("ij,ij->", a, np.cross(b, c)) / 6


class TestParts:
    def test_box_by_hand(self):
        part = box([0, 0, 0], [1, 2, 3], [0, 0, 0])
        assert area_and_volume(part) == pytest.approx((2 * (2 + 3 + 6), 6))
        inside = part.holds(np.array([[0.5, 1, 1], [1.5, 1, 1], [0.01, 1.99, 2.99], [-0.01, 1, 1], [1.0, 1, 1]]))
        assert inside.tolist() == [True, False, True, False, False]

    @pytest.mark.parametrize("start", [[0, 1, 0], [1, 0, 0], [0, 0.3, 1]])
    def test_bars_are_closed_with_faces_outward(self, start):
        part = bar(start, [0, 0, 0], 0.1, 0.2, [0, 0, 0])
        length = np.linalg.norm(start)
        assert area_and_volume(part)[1] == pytest.approx(0.2 * 0.4 * length)

    def test_cylinder_and_tube_come_near_their_volumes(self):
        rings = [ring([0, y, 0], [0.5, 0, 0], [0, 0, 0.5], sides=96) for y in (0, 2)]
        assert area_and_volume(loft(rings, [0, 0, 0]))[1] == pytest.approx(np.pi / 2, rel=2e-3)
        angle = np.linspace(0, np.pi, 65)
        path = np.stack([0 * angle, np.cos(angle), np.sin(angle)], axis=1)
        half_torus = tube(path, 0.1, 0.1, [0, 0, 0], sides=48)
        assert area_and_volume(half_torus)[1] == pytest.approx(np.pi * np.pi * 0.1**2, rel=5e-3)

    def test_long_edges_are_cut_and_the_points_given_stay(self):
        rings = [ring([0, y, 0], [0.5, 0, 0], [0, 0, 0.1], sides=4) for y in (0, 1)]
        part = loft(rings, [0, 0, 0])
        assert area_and_volume(part) == pytest.approx((2 * (0.2 + 1 + 0.2), 0.2))
        a, b, c = (part.vertices[part.faces[:, i]] for i in range(3))
        assert max(np.linalg.norm(side, axis=1).max() for side in (a - b, b - c, c - a)) < 0.35
        given = np.concatenate(rings)
        assert (np.linalg.norm(given[:, None] - part.vertices[None], axis=2).min(1) < 1e-12).all()
        edges = np.sort(np.concatenate([part.faces[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))]), axis=1)
        assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # closed

    def test_squarish_ring(self):
        corners = ring([0, 0, 0], [2, 0, 0], [0, 0, 1], sides=4)
        assert sorted(map(tuple, corners)) == [(-2, 0, -1), (-2, 0, 1), (2, 0, -1), (2, 0, 1)]
        on = ring([0, 0, 0], [2, 0, 0], [0, 0, 1], sides=40, power=5)
        np.testing.assert_allclose((np.abs(on[:, 0]) / 2) ** 5 + np.abs(on[:, 2]) ** 5, 1)

    def test_surfaces_inside_other_parts_are_not_sampled(self):
        shape = Shape()
        outer = shape.add(box([-1, -1, -1], [1, 1, 1], [255, 0, 0]))
        shape.add(box([-0.5, -0.5, -0.5], [0.5, 0.5, 0.5], [0, 255, 0]))
        shape.mark(0, outer, [1, 1, 1])
        model = finish(shape, 300, np.random.default_rng(0))
        assert (model.color[:, 0] > model.color[:, 1]).all()

    def test_thinning_against_its_plain_form(self):
        points = np.random.default_rng(0).normal(size=(60, 3))
        chosen = [0, 1]
        while len(chosen) < 20:
            distance = np.linalg.norm(points[:, None] - points[None, chosen], axis=2).min(1)
            chosen.append(int(distance.argmax()))
        assert thin(points, 20, start=2).tolist() == chosen
