"""The command line as a user meets it: help, versions, and one clear line for what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from connectors.cli.main import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", [path for path, command in commands(cli) if not command.hidden], ids=" ".join)
def test_each_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"tidemark {' '.join(path)}" in result.output.partition("Example")[2]


def test_the_roles_of_the_architecture_are_commands() -> None:
    assert {"up", "worker", "api", "dispatcher", "token", "demo"} <= set(cli.commands)


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert "0.1.0" in result.output


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: these commands set up logging and run event loops."""
    command = [sys.executable, "-m", "connectors.cli.main", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("up", "--embedded", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 1
    assert result.stderr.splitlines() == [f"Error: the API cannot listen on 127.0.0.1 port {port}: the port is in use"]
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    result = run("up", "--embedded", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be used" in result.stderr


def test_an_unreachable_redis_is_one_line_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = run("token", "list", TIDEMARK_REDIS_URL=f"redis://user:hunter2@127.0.0.1:{port}/0")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert f"redis://user:***@127.0.0.1:{port}/0" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


def test_a_setting_out_of_bounds_is_named_and_its_value_is_not_shown() -> None:
    result = run("worker", TIDEMARK_TICK_MS="-31337", TIDEMARK_REDIS_TIMEOUT_S="soon")
    assert result.returncode == 2
    assert "TIDEMARK_TICK_MS" in result.stderr
    assert "TIDEMARK_REDIS_TIMEOUT_S" in result.stderr
    assert "31337" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("url", ["localhost:6379", "http://127.0.0.1", "redis://user:hunter2/x@127.0.0.1:6379"])
def test_a_redis_url_that_is_none_is_one_line_without_its_value(url: str) -> None:
    result = run("token", "list", TIDEMARK_REDIS_URL=url)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "TIDEMARK_REDIS_URL: must be redis://" in result.stderr
    assert url not in result.stderr
    assert "hunter2" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--data-dir", "x"], "--embedded"),
        (["up", "--embedded", "--workers", "2"], "--workers needs a real Kafka"),
        (["up", "--port", "70000"], "70000"),
        (["demo", "--customers", "1"], "1"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_a_role_that_waits_for_kafka_stops_when_it_is_told_to() -> None:
    """It has nothing to drain, so it must not take the whole drain timeout."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    env = {"TIDEMARK_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "TIDEMARK_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "connectors.cli.main", "worker"], env=env, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting" in line:
            break
    process.terminate()
    assert process.wait(timeout=15) == 0
    process.stderr.close()
