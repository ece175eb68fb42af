import pytest

from pcsargmax.visualize import Look, RendererUnavailable, show


def test_wrong_arguments_of_a_window_are_named(mug):
    with pytest.raises(ValueError, match="predictions: expected at least one"):
        show([])
    with pytest.raises(ValueError, match="others: expected 2, one beside each prediction, got 1"):
        show([mug(), mug()], others=mug())
    with pytest.raises(ValueError, match="keypoint: expected one of handle"):
        show(mug(), look=Look(keypoint="lid"))


def test_a_window_needs_a_screen(mug, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(RendererUnavailable, match="there is no screen"):
        show(mug())


def test_a_window_without_open3d_says_what_to_install(mug, monkeypatch):
    import sys

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "open3d", None)
    for name in ("window", "scene_view", "controls"):  # not their package, which other tests hold
        monkeypatch.delitem(sys.modules, f"pcsargmax.visualize.window.{name}", raising=False)
    with pytest.raises(RendererUnavailable, match="Open3D needs the system libraries"):
        show(mug())
