# make run    images -> weights -> artifacts -> parity -> load tests -> results/<run>/report.html
# make test   every test
# make check  formatting, lint, types and the tests that need no framework: seconds
#
# PROFILE=quick|full   quick: 28 and 64 px with short loads
# DEVICE=cpu|cuda      cuda installs the GPU builds
# TRAIN=1              train the weights anew instead of using the committed ones
# DATA=auto|pbc|bloodmnist|synthetic    DATA_ROOT=folder with pbc/

PYTHON ?= python3
PROFILE ?= full
DEVICE ?= cpu
DATA ?= auto
VENV ?= .venv
BIN = $(VENV)/bin
BUILDS = $(if $(filter cuda%,$(DEVICE)),gpu,cpu)
INSTALLED = $(VENV)/.installed-$(BUILDS)

export BENTOML_DO_NOT_TRACK = 1
ifdef DATA_ROOT
export HEMABENCH_DATA_ROOT = $(DATA_ROOT)
endif

.PHONY: help run test check format install clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

run: $(INSTALLED)
	$(BIN)/hemabench run --profile $(PROFILE) --device $(DEVICE) --data $(DATA) $(if $(TRAIN),--train)

test: $(INSTALLED)
	$(BIN)/pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/contract tests/analysis tests/test_boundaries.py -q

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ". Next: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made. Next: install the venv module (Debian: apt install python3-venv)"; exit 1; }
	@echo "Installing into $(VENV): about 1 GB, a few minutes."
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(BUILDS),dev,peers,referee]'
	@touch $@

clean:
	rm -rf $(VENV) .cache build *.egg-info exported_models/artifacts
