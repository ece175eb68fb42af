from pcsargmax.benchmark.status import read_status


def test_a_status_that_cannot_be_read_is_empty(tmp_path):
    assert read_status(tmp_path / "none") == {}
    for text in ("", "[]"):
        (tmp_path / "file").write_text(text)
        assert read_status(tmp_path / "file") == {}
