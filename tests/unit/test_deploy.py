"""The files under deploy/, and the lock files: what they name exists."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import connectors.metrics  # noqa: F401  (registers the metrics)
from connectors.cli.main import cli
from connectors.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def make_dashboard() -> Any:
    spec = importlib.util.spec_from_file_location("make_dashboard", DEPLOY / "grafana" / "make_dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exported_names() -> set[str]:
    """Names as Prometheus sees them, those of a histogram's series included."""
    names: set[str] = set()
    for family in REGISTRY.collect():
        if family.type == "counter":
            names.add(f"{family.name}_total")
        elif family.type == "histogram":
            names.update(f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
        else:
            names.add(family.name)
    return names


def test_the_dashboard_names_only_metrics_that_exist() -> None:
    panels = make_dashboard().dashboard()["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    named = set(re.findall(r"tidemark_\w+", " ".join(queries)))
    assert named
    assert named - exported_names() == set()


def test_the_dashboard_shows_every_metric_family() -> None:
    text = make_dashboard().rendered()
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("tidemark_")}
    shown_elsewhere = {"tidemark_partitions_assigned"}
    assert {name for name in ours if name not in text} == shown_elsewhere


def test_the_dashboard_file_is_what_its_script_gives() -> None:
    module = make_dashboard()
    assert module.TARGET.read_text() == module.rendered(), "run: python deploy/grafana/make_dashboard.py"


def test_the_compose_file_runs_each_role_with_settings_that_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    known = {f"TIDEMARK_{name.upper()}" for name in Settings.model_fields}
    for role in ("worker", "api", "dispatcher"):
        assert services[role]["command"] == [role]
        assert role in cli.commands
        assert set(services[role]["environment"]) - known == set()
    assert services["redis"]["command"][-2:] == ["--maxmemory-policy", "noeviction"]


def test_files_that_the_compose_file_mounts_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    mounted = [volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    local = [path for path in mounted if path.startswith("./")]
    assert len(local) == 3
    assert [path for path in local if not (DEPLOY / path).exists()] == []


def test_images_are_pinned_by_digest() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    images = {service["image"] for service in services.values()} - {"tidemark"}  # which is built from the Dockerfile
    bases = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 4
    assert bases
    assert [image for image in (*images, *bases) if not re.search(r":\S+@sha256:[0-9a-f]{64}$", image)] == []


def test_prometheus_asks_the_ports_that_the_compose_file_opens() -> None:
    jobs = load_yaml(DEPLOY / "prometheus.yml")["scrape_configs"]
    asked = {job["dns_sd_configs"][0]["names"][0]: job["dns_sd_configs"][0]["port"] for job in jobs}
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    opened = {role: int(services[role]["environment"]["TIDEMARK_METRICS_PORT"]) for role in ("worker", "dispatcher")}
    assert asked == {**opened, "api": int(services["api"]["environment"]["TIDEMARK_API_PORT"])}


def test_provisioning_files_are_valid() -> None:
    datasource = load_yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    assert datasource["uid"] == make_dashboard()._DATASOURCE["uid"]
    provider = load_yaml(DEPLOY / "grafana/provisioning/dashboards/tidemark.yaml")["providers"][0]
    mounts = load_yaml(DEPLOY / "compose.yaml")["services"]["grafana"]["volumes"]
    assert any(f":{provider['options']['path']}:" in mount for mount in mounts)


def requirement_name(text: str) -> str:
    return re.split(r"[\[<>=;! ]", text, maxsplit=1)[0].lower().replace("_", "-")


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_a_lock_file_pins_everything_with_hashes_and_names_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    if "dev" in lock:
        wanted += project["dependency-groups"]["dev"]
    entries = re.split(r"\n(?=\S)", text[text.index("\n") :])
    pinned = {match[1] for entry in entries if (match := re.match(r"\s*([a-z0-9.-]+)==\S+.*--hash=sha256:", entry, re.DOTALL))}
    assert {requirement_name(item) for item in wanted} - pinned == set()
    assert "://" not in text


def test_the_development_lock_contains_the_other_one() -> None:
    def pins(path: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9.-]+==\S+)", (ROOT / path).read_text(), re.MULTILINE))

    assert pins("requirements.txt") - pins("requirements-dev.txt") == set()
