from importlib.metadata import PackageNotFoundError, version

import pytest

COMMANDS = ["train", "evaluate", "benchmark", "predict", "view", "demo", "data"]


def test_help_lists_the_commands(cli):
    result = cli("--help")
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)
    assert cli("-h").stdout == result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "data"])
def test_every_help_has_an_example(cli, command):
    assert f"pcsargmax {command}" in cli(command, "--help").stdout.split("Usage")[1]


@pytest.mark.parametrize("command", ["train", "predict", "demo", "view"])
def test_what_draws_or_computes_takes_seed_and_device(cli, command):
    text = cli(command, "--help").stdout
    assert "--seed" in text
    assert "--device" in text


def test_the_version_is_that_of_the_package(cli):
    try:
        installed = version("pcsargmax")
    except PackageNotFoundError:
        pytest.skip("pcsargmax is not installed")
    assert cli("--version").stdout == f"pcsargmax {installed}\n"


def test_an_unknown_command_has_exit_code_2(cli):
    assert cli("trian").exit_code == 2
