"""Ctrl-C: a command says what it kept, leaves no process behind, and the command that it names goes on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contract.manifest import MANIFEST_FILE

ROOT = Path(__file__).parents[1]


def started(*words: object) -> subprocess.Popen[str]:
    """One command that hears SIGINT, as it does in a terminal, also where this process ignores it."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def interrupted(process: subprocess.Popen[str], when: str) -> str:
    """Ctrl-C once a line of its progress matches ``when``; all that it said. Its children hear nothing of it."""
    heard = []
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            heard.append(line)
            if re.search(when, line):
                break
        else:
            pytest.fail(f"never said {when!r}: {''.join(heard)}")
        process.send_signal(signal.SIGINT)
        return "".join([*heard, process.stderr.read()])


def processes_that_name(folder: Path) -> list[psutil.Process]:
    """Those whose command line names ``folder``."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(process)
    return found


def wait_for_no_process(folder: Path, deadline_s: float = 60) -> None:
    until = time.monotonic() + deadline_s
    while left := processes_that_name(folder):
        assert time.monotonic() < until, f"left behind: {left}"
        time.sleep(0.1)


def test_a_training_campaign_ends_with_its_child_and_goes_on_with_the_words_that_it_said(tmp_path):
    words = ["train", "--data", "synthetic", "--seeds", 2, "--epochs", 6, "--cache", tmp_path / "cache"]
    words += ["--checkpoints", tmp_path / "checkpoints", "--results", tmp_path / "results", "--campaign", "stopped"]
    process = started(*words)
    said = interrupted(process, r"epoch [2-6]/6")
    assert process.returncode == 130
    assert "Traceback" not in said
    wait_for_no_process(tmp_path)
    assert "whole epochs are kept" in said
    (more,) = re.findall(r"Next: the same command with (.+)", said)

    command = [sys.executable, "-m", "cli", *map(str, words), *shlex.split(more)]
    resumed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert "epoch 1/6" not in resumed.stderr.split("seed 1")[0]  # the first run had finished it
    assert len(list((tmp_path / "results").rglob("training.json"))) == 2


def test_an_export_keeps_what_was_proved_and_no_half_built_artifact(tmp_path):
    process = started("export", "--format", "onnx", "--artifacts", tmp_path)
    said = interrupted(process, r"exported onnx:28")
    assert process.returncode == 130
    assert "artifacts that were proved are kept" in said
    wait_for_no_process(tmp_path)
    kept = {path.name for path in (tmp_path / "onnx").iterdir()}
    assert "28px" in kept
    assert all((tmp_path / "onnx" / name / MANIFEST_FILE).is_file() for name in kept)
