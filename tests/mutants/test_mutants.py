"""Each fault is put into a copy of the source, where the tests that guard against it must fail (and pass without it)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.alerts import ALERT_MUTANTS
from tests.mutants.faults import MUTANTS, Mutant
from tests.mutants.money import MONEY_MUTANTS

ROOT = Path(__file__).parents[2]
COPIED = ("engine", "schemas", "connectors", "tests", "pyproject.toml")
RUN_TIMEOUT_S = 240
ALL_MUTANTS = (*MUTANTS, *MONEY_MUTANTS, *ALERT_MUTANTS)
FAILED = 1  # pytest's exit codes; anything but these two means that the tests did not run
PASSED = 0


def copy_of_the_source(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run_tests(copy: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """pytest in the copy, which comes before the installed source on the path."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)


def apply(mutant: Mutant, copy: Path) -> None:
    for edit in mutant.edits:
        path = copy / edit.file
        source = path.read_text()
        count = source.count(edit.old)
        assert count == 1, f"mutant {mutant.fault} is out of date: {edit.file} holds its place {count} times:\n{edit.old}"
        path.write_text(source.replace(edit.old, edit.new))


def test_the_killers_pass_without_any_fault(tmp_path: Path) -> None:
    copy = copy_of_the_source(tmp_path)
    which = [sys.executable, "-c", "import engine, connectors; print(engine.__file__, connectors.__file__)"]
    found = subprocess.run(
        which, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.count(str(copy)) == 2, f"the copy is not what the tests import: {found.stdout}"
    killers = tuple(dict.fromkeys(killer for mutant in ALL_MUTANTS for killer in mutant.killers))
    done = run_tests(copy, killers)
    assert done.returncode == PASSED, done.stdout[-3000:]
    assert "skipped" not in done.stdout.splitlines()[-1], "a killer that is skipped kills nothing"


@pytest.mark.parametrize("mutant", ALL_MUTANTS, ids=lambda mutant: f"{mutant.fault}: {mutant.name}")
def test_every_killer_fails_under_the_fault(mutant: Mutant, tmp_path: Path) -> None:
    copy = copy_of_the_source(tmp_path)
    apply(mutant, copy)
    done = run_tests(copy, mutant.killers)
    assert done.returncode in (PASSED, FAILED), f"the tests did not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    failed = [line.removeprefix("FAILED ") for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    alive = [killer for killer in mutant.killers if not any(name.startswith(killer) for name in failed)]
    assert alive == [], f"these tests let the fault live:\n{done.stdout[-3000:]}"
