from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contract.environment import LIBRARIES, describe_environment, versions_of

ROOT = Path(__file__).parents[2]


def test_the_machine_is_described() -> None:
    environment = describe_environment()
    assert environment.cpu_model
    assert environment.memory_bytes > 2**28
    assert environment.python == ".".join(map(str, sys.version_info[:3]))
    assert environment.libraries["numpy"] == np.__version__


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to a core")
def test_cores_are_those_that_the_process_may_use() -> None:
    code = (
        "import os; from contract.environment import describe_environment as d;"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(d().cores)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert child.stdout.strip() == "1"


def test_describing_imports_no_framework() -> None:
    code = (
        "import sys; from contract.environment import describe_environment as d; d();"
        "print(sorted({'torch', 'tensorflow', 'jax', 'keras', 'onnxruntime', 'locust', 'bentoml'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert child.stdout.strip() == "[]"


def test_packages_that_are_not_installed_are_left_out() -> None:
    assert versions_of(("numpy", "no-such-package-anywhere")) == {"numpy": np.__version__}


def test_every_library_is_named_once() -> None:
    assert len(set(LIBRARIES)) == len(LIBRARIES)
