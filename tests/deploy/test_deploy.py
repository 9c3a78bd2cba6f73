"""What deploys the service names only what is there: schemas, metrics, settings, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.inference.devices import CPU
from serving.observe.metrics import CompilationCounter, Exposition, Measurements
from serving.runtimes import RUNTIMES
from serving.runtimes.null import NullRuntime
from serving.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BASE = sorted((DEPLOY / "kubernetes" / "base").glob("*.yaml"))
OVERLAYS = sorted((DEPLOY / "kubernetes" / "overlays").rglob("kustomization.yaml"))
KUBERNETES = "1.34"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def manifests(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.name != "kustomization.yaml"]


@pytest.mark.parametrize("path", manifests(BASE), ids=lambda path: path.name)
def test_every_manifest_is_valid_for_kubernetes(path):
    import kubernetes_validate

    assert documents(path)
    for document in documents(path):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)  # raises what does not fit


def test_the_validator_refuses_a_field_that_kubernetes_does_not_know():
    import kubernetes_validate

    (deployment,) = documents(DEPLOY / "kubernetes" / "base" / "deployment.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


def test_the_base_lists_every_manifest_beside_it():
    (kustomization,) = documents(DEPLOY / "kubernetes" / "base" / "kustomization.yaml")
    assert sorted(kustomization["resources"]) == sorted(path.name for path in manifests(BASE))


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.parent.name)
def test_an_overlay_patches_what_the_base_has(path):
    (overlay,) = documents(path)
    names = {
        (document["kind"], document["metadata"]["name"]) for base in manifests(BASE) for document in documents(base)
    }
    for patch in overlay["patches"]:
        (document,) = documents(path.parent / patch["path"])
        assert (patch["target"]["kind"], patch["target"]["name"]) in names
        assert (document["kind"], document["metadata"]["name"]) == (patch["target"]["kind"], patch["target"]["name"])


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.parent.name)
def test_an_overlay_names_the_image_as_the_base_leaves_it(path):
    (base,) = documents(DEPLOY / "kubernetes" / "base" / "kustomization.yaml")
    (overlay,) = documents(path)
    assert {image["name"] for image in overlay["images"]} == {image["newName"] for image in base["images"]}


def test_the_compose_file_is_valid():
    command = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    checked = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_gateway_starts_when_the_services_that_it_asks_are_healthy():
    (compose,) = documents(DEPLOY / "compose.yaml")
    gateway = compose["services"]["gateway"]
    asked = {word.split("=")[1] for word in gateway["command"] if word.startswith("--service=")}
    assert gateway["depends_on"] == {service: {"condition": "service_healthy"} for service in asked}
    assert "\nHEALTHCHECK " in (DEPLOY / "Dockerfile").read_text()


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}


@pytest.mark.parametrize(
    "path", sorted((DEPLOY / "kubernetes").rglob("deployment.yaml")), ids=lambda path: path.parent.name
)
def test_every_variable_of_a_deployment_is_a_setting_of_the_service(path):
    (deployment,) = documents(path)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = environment_of(container)
    assert given.keys() <= ServiceSettings().to_environment().keys()
    ServiceSettings.from_environment(given)


def exposed_metrics() -> set[str]:
    measurements = Measurements()
    measurements.answered("28", dict.fromkeys(("read", "total"), 1))
    measurements.out_of_distribution["28"] += 1
    exposition = Exposition(measurements, lambda: 0, {})
    exposition.add(CompilationCounter(NullRuntime(CPU, 1)))
    text = exposition.text().decode()
    return set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.MULTILINE))


def queries() -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "hemabench.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]["query"]
    (rules,) = documents(DEPLOY / "prometheus" / "alerts.yaml")
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    (autoscaler,) = documents(DEPLOY / "kubernetes" / "base" / "autoscaler.yaml")
    yield from (metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"])


def test_dashboard_alerts_and_autoscaler_ask_for_metrics_that_the_service_exposes():
    asked = {name for query in queries() for name in re.findall(r"\b((?:hemabench|process)_[a-z_]+)", query)}
    assert asked
    assert asked <= exposed_metrics()


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text()


def test_the_image_copies_what_the_repository_has_and_the_ignore_file_lets_through():
    let_through = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), re.MULTILINE)]
    sources = {source for line in copied for source in line}
    assert sources == let_through
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    made_by_export = {"exported_models/artifacts"}
    assert all(f"{source}\n" in tracked or f"\n{source}/" in tracked for source in sources - made_by_export)


@pytest.mark.parametrize("runtime", ["pytorch", "tensorflow", "jax", "onnx"])
def test_the_image_of_every_runtime_installs_what_that_runtime_needs(runtime, tmp_path):
    (script,) = re.findall(
        r'python -c "(import tomllib.+?)" > requirements', dockerfile().replace("\\\n", ""), re.DOTALL
    )
    listed = subprocess.run(
        [sys.executable, "-c", script.replace("${RUNTIME}", runtime)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras[RUNTIMES[runtime].extra]) <= set(listed)
    assert any(line.startswith("bentoml==") for line in listed)
    assert not any(line.startswith("hemabench") for line in listed)


def test_the_image_runs_without_root_and_holds_no_secret():
    lines = dockerfile().splitlines()
    assert "USER 10001:10001" in lines
    assert not re.search(
        r"(?i)secret|password|token|--mount=type=secret", "\n".join(line for line in lines if line[:1] != "#")
    )
