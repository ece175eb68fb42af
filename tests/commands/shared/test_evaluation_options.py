from pcsargmax.commands.shared.evaluation_options import parse_thresholds


def test_thresholds_are_read():
    assert parse_thresholds("0.01, 0.05") == (0.01, 0.05)
