"""The README's first ten minutes, run as they stand: from nothing to a received webhook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.kafka_server import free_port

ROOT = Path(__file__).parents[2]


def test_the_block_of_the_first_ten_minutes_runs_as_it_stands(tmp_path: Path) -> None:
    """But for what a developer's machine may lack: the installation is there already, and the usual ports may be taken."""
    found = re.search(r"<!-- first-minutes -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert found is not None
    script = found[1]
    assert script.startswith("make dev")
    port = str(free_port())
    script = script.replace(":8080", f":{port}").replace("--embedded", f"--embedded --port {port}")
    script = re.sub(r"^(make dev|export PATH=).*\n", "", script, flags=re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    ran = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = [line for line in ran.stdout.splitlines() if "usage_threshold_reached" in line and "call-3" in line]
    assert len(told) == 1, ran.stdout + ran.stderr
    assert re.search(r"starting a Valkey server.*tidemark is up", ran.stdout, re.DOTALL)
