"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import COMMANDS
from contract.architecture import HEMANET

ROOT = Path(__file__).parents[1]
TEACHER = "exported_models/checkpoints/hemanet-64px.safetensors"  # trained on PBC images


def hemabench(*words: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """One command; its exit code and everything it said."""
    code = "import sys; from cli import main; sys.argv[0] = 'hemabench'; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", [command.__name__ for command in COMMANDS])
def test_every_command_explains_itself(name):
    shown = hemabench(name, "--help")
    assert shown.returncode == 0
    assert f"hemabench {name}" in shown.stdout


def test_info_counts_what_the_network_costs():
    found = json.loads(hemabench("info", "--json").stdout)
    assert (found["parameters"], found["flops"]["224"]) == (HEMANET.parameter_count, HEMANET.flops(224))
    assert found["parameters"] <= 1_000_000
    assert found["flops"]["224"] <= 1_500_000_000


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["info", "--model", "vgg"], "choose one of: hemanet, resnet18"),
        (["train", "--framework", "caffe", "--data", "synthetic"], "choose from: pytorch, keras, flax"),
        (["run", "--profile", "huge"], "choose one of:"),
        (["run", "--runtime", "caffe", "--profile", "smoke"], "choose one of: pytorch, tensorflow, jax, onnx"),
        (["serve", "--runtime", "caffe"], "choose one of: pytorch, tensorflow, jax, onnx"),
        (["serve", "--host", "example.com"], "is no IP address"),
        (["serve", "--port", "70000"], "65535"),
        (["load", "--duration", "-1"], "duration_s"),
        (["load", "--scenario", "ladder"], "ladder needs arrival_rate_per_s. Next: --arrival-rate"),
        (["load", "--scenario", "spike", "--arrival-rate", "9"], "Next: --peak-rate"),
        (["load", "--scenario", "offline"], "Next: --requests"),
        (["load", "--scenario", "find_rate", "--arrival-rate", "9"], "Next: --p99-ms"),
        (["load", "--peak-rate", "9"], "is for spike. Next: leave --peak-rate away"),
        (["data", "--data", "imagenet"], "imagenet"),
        (["data", "--data", "chestmnist"], "several labels"),
        (["data", "--data", "retinamnist"], "grades"),
        (["data", "--data", "organmnist3d"], "volumes"),
        (["train", "--data", "pathmnist", "--model", "hemanet-dermamnist"], "is a network for dermamnist"),
        (["run", "--profile", "smoke", "--data", "pathmnist"], "holds no blood cells"),
        (["info", "--model", "hemanet-pathmnist"], "choose one of: hemanet, resnet18"),
        (["mistakes", "--profile", "huge"], "choose one of: full, quick, smoke"),
        (["mistakes", "--only", "sloppiness"], "predict_in_a_loop"),
        (["frobnicate"], "No such command"),
        ([], "no command was given. Next: hemabench --help"),
        (["classify"], "Missing argument 'image'. Next: hemabench classify --help"),
        (["data", "--colour", "red"], "No such option: --colour. Next: hemabench data --help"),
        (["data", "--resolution", "large"], "valid integer"),
        (["data", "--resolution", "0"], "no model is made for 0 px; choose from: 28, 64, 128, 224"),
        (["export", "--resolution", "33"], "no model is made for 33 px"),
        (["audit", "--resolution", "-1"], "no model is made for -1 px"),
        (["audit", "--run", "nowhere"], "nowhere"),
        (["train", "--model", "vgg"], "choose one of: hemanet, resnet18"),
        (["train", "--teacher", "nowhere"], "nowhere"),
        (["train", "--data", "synthetic", "--teacher", TEACHER], "may know the test images of 2000 rendered cells"),
        (["train", "--data", "synthetic", "--framework", "keras", "--fast"], "choices of pytorch, not of keras"),
        (["train", "--seeds", "0"], "--seeds"),
        (["train", "--seeds", "999999999"], "--seeds"),
        (["referee", "-r", "0", "--data", "synthetic"], "no model is made for 0 px"),
        (["referee", "--arrival-rate", "nan", "--data", "synthetic"], "arrival_rate_per_s (nan) must be > 0"),
        (["referee", "--arrival-rate", "inf", "--data", "synthetic"], "arrival_rate_per_s (inf) must be > 0"),
        (["referee", "--rounds", "1"], "--rounds"),
        (["referee", "--runtime", "caffe"], "choose one of: pytorch, tensorflow, jax, onnx"),
        (["payloads", "--runtime", "caffe"], "choose one of: pytorch, tensorflow, jax, onnx"),
        (["compute", "--threads", "0"], "--threads"),
        (["compute", "--baseline", "caffe"], "baseline 'caffe' is not measured; choose one of: pytorch"),
        (["compute", "--resume", "nowhere"], "no run 'nowhere' is under results"),
        (["run", "--resume", "nowhere"], "no run 'nowhere' is under results"),
        (["classify", "serving/page/examples/ig.png", "--resolution", "0"], "no model is made for 0 px"),
        (["classify", "serving/page/examples/ig.png", "--url", ""], "is no URL of a service"),
        (["classify", "serving/page/examples/ig.png", "--url", "http://h:1/v1/classify"], "Next: give only http://h:1"),
        (
            ["classify", "serving/page/examples", "--url", "http://127.0.0.1:9", "--runtime", "jax"],
            "leave --runtime or",
        ),
        (["serve", "--all", "--runtime", "onnx"], "leave one of them away"),
        (["serve", "--open"], "Next: hemabench serve --all --open"),
    ],
)
def test_wrong_settings_get_one_clear_message_and_exit_code_2(words, reason):
    refused = hemabench(*words)
    assert refused.returncode == 2, refused.stderr
    *warnings, message = refused.stderr.strip().splitlines()
    assert message.startswith("error: ")
    assert reason in message
    assert all(line.startswith("Rendered images") for line in warnings)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["classify", "nowhere.png"], "cannot read nowhere.png"),
        (["classify", __file__], "no image of a kind"),
        (["classify", __file__, "--url", "http://127.0.0.1:9"], "Next: hemabench serve"),
        (["load", "--url", "http://127.0.0.1:9", "--data", "synthetic"], "Next: hemabench serve"),
        (["report", "nowhere"], "nowhere"),
        (["export", "--checkpoints", "nowhere"], "Next: hemabench train"),
        (["mistakes", "--checkpoints", "nowhere"], "Next: hemabench train"),
        (["serve", "--artifacts", "nowhere"], "there is no folder nowhere. Next: check --artifacts"),
        (["compare", "nowhere", "docs"], "there is no run at nowhere"),
        (["serve", "--device", "cuda:7"], "--device cpu"),
        (["compute", "--device", "cuda:7"], "--device cpu"),
        (["data", "--data", "synthetic", "--cache", "/proc/nowhere"], "Next: name a place that exists"),
        (["train", "--data", "synthetic", "--checkpoints", "/proc/nowhere"], "Next: name a place that exists"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message_and_exit_code_1(words, reason, tmp_path):
    if "load" in words or "train" in words:
        words = [*words, "--cache", tmp_path, "--results", tmp_path]
    refused = hemabench(*words)
    assert refused.returncode == 1, refused.stderr
    assert reason in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_missing_extra_is_named_with_the_command_that_installs_it(tmp_path):
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError(\"No module named 'jinja2'\", name='jinja2')")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, '.']; from cli import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path)]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith("pip install -c constraints.txt -e '.[report]'")
    assert len(refused.stderr.strip().splitlines()) == 1


def test_rendered_images_are_announced_loudly(tmp_path):
    shown = hemabench("data", "--data", "synthetic", "--resolution", 28, "--cache", tmp_path)
    assert shown.returncode == 0
    assert "speed is measured on them, accuracy is not" in shown.stderr
    assert "1,400" in shown.stdout


def test_a_folder_is_classified_by_a_service_only(tmp_path):
    refused = hemabench("classify", tmp_path)
    assert refused.returncode == 2
    assert "name it with --url" in refused.stderr


def test_a_folder_without_files_is_no_success(tmp_path):
    refused = hemabench("classify", tmp_path, "--url", "http://127.0.0.1:9", "--out", tmp_path / "p.csv")
    assert refused.returncode == 1
    assert "PNG, JPEG, WebP, TIFF and BMP are looked for" in refused.stderr
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HEMABENCH_LINE_LIMIT", "0", "line_limit (0) must be > 0"),
        ("HEMABENCH_RUNTIME", "caffe", "no runtime is called 'caffe'"),
        ("HEMABENCH_ARTIFACTS", "nowhere", "Next: check --artifacts, or hemabench export"),
    ],
)
def test_what_serve_is_not_given_comes_from_the_variables_of_the_service(variable, value, reason, monkeypatch):
    monkeypatch.setenv(variable, value)
    refused = hemabench("serve")
    assert refused.returncode in (1, 2)
    assert reason in refused.stderr


def test_an_option_of_serve_wins_over_its_variable(monkeypatch):
    monkeypatch.setenv("HEMABENCH_ARTIFACTS", "nowhere")
    refused = hemabench("serve", "--artifacts", "elsewhere")
    assert refused.returncode == 1
    assert "elsewhere" in refused.stderr


def test_the_doctor_names_what_is_wrong_and_fails(tmp_path):
    (tmp_path / "hemanet-28px.safetensors").write_bytes(b"no weights")
    nowhere = ["--cache", tmp_path, "--artifacts", tmp_path]
    shown = hemabench("doctor", "--json", "--checkpoints", tmp_path, *nowhere)
    checks = {check["name"]: check for check in json.loads(shown.stdout)}
    assert shown.returncode == 1
    assert (checks["weights 28 px"]["level"], checks["weights 64 px"]["level"]) == ("fail", "warn")
    assert checks["images"]["next"] == "hemabench data"
    assert all(check["next"] for check in checks.values() if check["level"] != "ok")


def test_the_doctor_sees_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = hemabench("doctor", "--json", "--port", port, "--artifacts", tmp_path, "--cache", tmp_path)
    (check,) = (check for check in json.loads(shown.stdout) if check["name"] == f"port {port}")
    assert check["level"] == "warn"
    assert "--port" in check["next"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hemabench ser", {"serve"}),
        ("hemabench train --epo", {"--epochs"}),
        ("hemabench load --scenario ", {"closed_loop", "open_loop", "soak", "spike", "offline", "ladder", "find_rate"}),
        ("hemabench verify --resolution ", {"28", "64", "128", "224"}),
        ("hemabench verify --runtime onnx", {"onnx", "onnx-int8"}),
        ("hemabench data --data path", {"pathmnist"}),
    ],
)
def test_the_shell_completes_commands_options_and_their_values(typed, offered, monkeypatch):
    monkeypatch.setenv("_HEMABENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    assert set(hemabench().stdout.split()) == offered


def test_weights_and_artifacts_are_found_from_any_folder(tmp_path):
    from commands.options import ARTIFACTS, CHECKPOINTS

    assert (str(ARTIFACTS), str(CHECKPOINTS)) == ("exported_models/artifacts", "exported_models/checkpoints")
    seen = {check["name"]: check for check in json.loads(hemabench("doctor", "--json", cwd=tmp_path).stdout)}
    assert seen["weights 28 px"]["level"] == "ok"


def test_every_command_looks_for_artifacts_where_the_service_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMABENCH_ARTIFACTS", str(tmp_path / "elsewhere"))
    for words in (("classify", "docs/images/page.png"), ("serve",), ("verify",)):
        assert str(tmp_path / "elsewhere") in hemabench(*words).stderr.replace("\n", "")
