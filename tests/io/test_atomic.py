import pytest

from pcsargmax.io.atomic import atomic_path


def test_atomic_path_replaces_when_all_went_well(tmp_path):
    target = tmp_path / "deep" / "result.json"
    with atomic_path(target) as temporary:
        temporary.write_text("one")
        assert temporary.suffix == ".json"
        assert not target.exists()
    assert target.read_text() == "one"
    with atomic_path(target) as temporary:
        temporary.write_text("two")
        assert target.read_text() == "one"
    assert target.read_text() == "two"
    assert list(target.parent.iterdir()) == [target]


def test_atomic_path_leaves_nothing_behind_when_it_fails(tmp_path):
    target = tmp_path / "result.json"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_path_gives_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
