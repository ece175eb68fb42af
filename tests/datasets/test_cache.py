import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from platformdirs.macos import MacOS
from platformdirs.windows import Windows

from pcsargmax.datasets.cache import cache_folder, cache_key, cached, source_stamp


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PCSARGMAX_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("PCSARGMAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "pcsargmax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "pcsargmax"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("system", "place"), [(MacOS, "Library/Caches/pcsargmax"), (Windows, "Local/pcsargmax/Cache")])
def test_cache_folder_is_where_other_systems_keep_theirs(monkeypatch, tmp_path, system, place):
    for name in ("PCSARGMAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: str(tmp_path / "Local"))
    monkeypatch.setattr("platformdirs.PlatformDirs", system)
    assert Path(str(cache_folder()).replace("\\", "/")) == tmp_path / place


def test_source_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    first = source_stamp(path)
    assert first[:2] == ("a.txt", 3)
    os.utime(path, ns=(0, 10**9))
    assert source_stamp(path) == ("a.txt", 3, 10**9) != first


def test_cache_key_depends_on_every_part_and_not_on_the_process():
    key = cache_key(1, "a", [2.5, None], {"b": True, "a": 1}, Path("/x"))
    assert key == cache_key(1, "a", (2.5, None), {"a": 1, "b": True}, "/x")
    assert len(key) == 16
    others = [
        cache_key(1, "a", [2.5, None], {"b": False, "a": 1}, Path("/x")),
        cache_key(1, "a"),
        cache_key("1a"),
    ]
    assert len({key, *others}) == 4
    code = "from pcsargmax.datasets.cache import cache_key; print(cache_key(1, 'a', [2.5, None]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout.strip() == cache_key(1, "a", [2.5, None])
    with pytest.raises(TypeError, match="expected numbers, texts, paths"):
        cache_key(object())


def test_cached_makes_once(tmp_path):
    calls = []

    def make() -> dict:
        calls.append(1)
        return {"x": torch.arange(3), "names": ["a", "b"], "nested": [{"k": (1, 2.0)}]}

    path = tmp_path / "sub" / "a.pt"
    first, second = cached(path, make), cached(path, make)
    assert len(calls) == 1
    assert torch.equal(first["x"], second["x"])
    assert second["names"] == ["a", "b"]
    assert second["nested"] == [{"k": (1, 2.0)}]


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_cached_makes_a_damaged_file_anew(tmp_path, damage):
    path = tmp_path / "a.pt"
    cached(path, lambda: {"x": torch.arange(1000)})
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "garbage": b"not a file" * 50}[damage])
    assert torch.equal(cached(path, lambda: {"x": torch.arange(5)})["x"], torch.arange(5))
    assert torch.equal(cached(path, lambda: {"x": torch.arange(6)})["x"], torch.arange(5))


class Harmful:
    def __reduce__(self):
        return (os.mkdir, (os.environ["PCSARGMAX_HARM"],))


def test_a_cache_file_executes_nothing(tmp_path, monkeypatch):
    harm = tmp_path / "harm"
    monkeypatch.setenv("PCSARGMAX_HARM", str(harm))
    torch.save({"x": Harmful()}, tmp_path / "a.pt")
    assert cached(tmp_path / "a.pt", lambda: {"x": 1}) == {"x": 1}
    assert not harm.exists()


def test_cached_saves_nothing_when_making_fails(tmp_path):
    def make() -> dict:
        raise ValueError("bad source")

    with pytest.raises(ValueError, match="bad source"):
        cached(tmp_path / "a.pt", make)
    assert list(tmp_path.iterdir()) == []
