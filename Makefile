# Everything runs from a fresh clone on a machine with Python 3.11 to 3.13 and make: `make demo`, `make test`, `make ui`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
STARTED := $(shell date +%s)

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell command -v python$(v) 2>/dev/null)) python3)
VENV := .venv
BIN := $(VENV)/bin
UV := .tools/bin/uv

export MLOPS_HOME ?= $(CURDIR)/.home
export DAGSTER_HOME ?= $(MLOPS_HOME)/dagster
export DAGSTER_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
# Where the environment forbids bytecode, as in many containers, every process would compile torch and Dagster anew.
export PYTHONDONTWRITEBYTECODE :=
MLFLOW_PORT ?= 5000
LABEL_STUDIO_PORT ?= 8080
SERVE_PORT ?= 8000
# Where `make label-studio` says how the project reaches it.
LABEL_STUDIO_SETTINGS := "$(MLOPS_HOME)/label-studio/settings.sh"
export MLOPS_MLFLOW_UI ?= http://127.0.0.1:$(MLFLOW_PORT)

.PHONY: help setup home demo production-rehearsal fault-table ui mlflow serve label-studio base-weights test test-production test-label-studio test-slow test-gpu check check-tools tool-locks format validate lock image-locks image-env bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "This Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR==2 {print int($$4/1048576)}'); [ "$$free" -ge 9 ] \
	  || { echo "About 9 GB of free disk are needed (torch comes with CUDA); there are $$free GB here." >&2; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install -q 'uv>=0.9,<1'

$(BIN)/.ready: requirements.lock pyproject.toml | $(UV)
	@echo "Setting up $(VENV): a minute, and 7 GB (torch comes with CUDA)"
	@[ -x $(BIN)/python ] || $(UV) venv -q -p $$($(PYTHON) -c 'import sys; print(sys.executable)') $(VENV)
	$(UV) pip sync -q -p $(BIN)/python requirements.lock
	$(UV) pip install -q --no-deps -p $(BIN)/python -e .
	@$(BIN)/python -c 'import cv2' \
	  || { echo "OpenCV cannot start: a system library that the line above names is missing. On Debian or Ubuntu: apt-get install libgl1 libglib2.0-0" >&2; exit 1; }
	@touch $@

setup: $(BIN)/.ready ## the virtual environment, pinned by requirements.lock

home: setup
	@mkdir -p "$(DAGSTER_HOME)" && cp local/dagster.yaml "$(DAGSTER_HOME)/dagster.yaml"

demo: home ## the whole story, from rendered photos to a catalogue that learns a new class
	$(BIN)/python -m demo.story --started $(STARTED) $(DEMO)

production-rehearsal: setup ## the same story as pods of a stand-in cluster, with PostgreSQL, S3 and an MLflow server (REHEARSAL="--enclosures 24")
	$(BIN)/python -m rehearsal --started $(STARTED) $(REHEARSAL)

fault-table: setup ## what goes wrong on a cluster, tried on production's deployment, and how it ends: demo-output/fault-table.md
	$(BIN)/python -m rehearsal.faults $(FAULTS)

ui: home ## Dagster's web page with the daemon, on http://127.0.0.1:3000
	if [ -f $(LABEL_STUDIO_SETTINGS) ]; then . $(LABEL_STUDIO_SETTINGS); fi; \
	  $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $${PORT:-3000}

mlflow: home ## MLflow's web page with every training, on http://127.0.0.1:5000, where the links of assets lead
	$(BIN)/mlflow server --backend-store-uri sqlite:///$(MLOPS_HOME)/mlflow.db --artifacts-destination $(MLOPS_HOME)/mlflow-artifacts --host 127.0.0.1 --port $(MLFLOW_PORT)

serve: setup ## the champion, live, on http://127.0.0.1:8000: POST a photo to /detect
	$(BIN)/python -m mlops_assets.serving --port $(SERVE_PORT)

label-studio: setup .tools/label-studio/.ready ## Label Studio on http://127.0.0.1:8080, where annotators label; `make ui`, started after it, knows it
	$(BIN)/python -m scripts.label_studio --home "$(MLOPS_HOME)" --port $(LABEL_STUDIO_PORT)

base-weights: setup ## make the bundled base weights anew: about an hour on 2 cores, minutes on a GPU (BASE="--device 0")
	$(BIN)/python -m pretraining $(BASE)

test: setup check-tools ## the default test suite
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not production and not gpu" $(addprefix --ignore=,$(CHECKED))

test-production: setup ## tests of the images' environments and of production's deployment on the stand-in cluster
	$(BIN)/python -m pytest -m "production and not slow and not gpu" --ignore=$(LABEL_STUDIO_TESTS)

test-label-studio: setup .tools/label-studio/.ready ## the tests that start the real Label Studio server: two minutes
	$(BIN)/python -m pytest $(LABEL_STUDIO_TESTS)

test-slow: setup ## tests that take minutes
	$(BIN)/python -m pytest -m "slow and not gpu" -o faulthandler_timeout=0

test-gpu: setup ## tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

check: setup check-tools ## format, lint, types, security, or one of them: make check ONLY=secrets
	$(BIN)/python -m scripts.checks $(ONLY)

LABEL_STUDIO_TESTS := tests/labelling/test_label_studio_server.py

# Tests that `make check` runs: rendered manifests against schemas and policies.
CHECKED := tests/k8s/test_manifests.py tests/k8s/test_policies.py

# Environments of their own, so that what they pin never meets the project's packages; checkov's pins conflict even with theirs.
.tools/%/.ready: requirements-%.lock | $(UV)
	@[ -x .tools/$*/bin/python ] || $(UV) venv -q -p $$($(PYTHON) -c 'import sys; print(sys.executable)') .tools/$*
	$(UV) pip sync -q -p .tools/$*/bin/python --require-hashes $<
	@touch $@

check-tools: .tools/check/.ready .tools/policy/.ready ## what `make check` runs beside ruff and mypy
	@ln -sf ../../policy/bin/checkov .tools/check/bin/checkov

format: setup ## mends what `make check` can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

validate: home ## the definitions load under both profiles
	MLOPS_PROFILE=local $(BIN)/dagster definitions validate -w workspace.yaml
	MLOPS_PROFILE=k8s $(BIN)/dagster definitions validate -w workspace.yaml

# Sections that compare with other libraries need those.
BESIDE_OTHERS := $(if $(SECTION),$(filter photos near_duplicates,$(SECTION)),all)
bench: setup $(if $(BESIDE_OTHERS),.tools/bench/.ready) ## measurements side by side, or one section: make bench SECTION=start
	$(BIN)/python -m benchmarks $(SECTION)

lock: $(UV) ## pins the requirements anew
	$(UV) pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --no-emit-index-url --no-header --upgrade -o requirements.lock
	$(MAKE) image-locks

IMAGE_LOCK := --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: --no-emit-index-url --no-header --no-annotate --generate-hashes -c requirements.lock
image-locks: $(UV) ## pins what the container images install, to the versions of requirements.lock
	$(UV) pip compile -q pyproject.toml --extra k8s --extra server --extra serve --extra labelling $(IMAGE_LOCK) -o k8s/images/requirements-cpu.lock
	$(UV) pip compile -q pyproject.toml --extra k8s --extra train $(IMAGE_LOCK) -o k8s/images/requirements-gpu.lock
	echo uv | $(UV) pip compile -q - $(IMAGE_LOCK) -o k8s/images/requirements-uv.lock

# Without the overrides of pyproject.toml, which are for the project's own packages.
tool-locks: $(UV) ## pins the tools of `make check` and `make bench`, and the Label Studio server, anew
	for set in check policy label-studio; do \
	  $(UV) --no-config pip compile -q requirements-$$set.in --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes --upgrade -o requirements-$$set.lock; \
	done
	$(UV) pip compile -q requirements-bench.in --no-deps --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes --upgrade -o requirements-bench.lock

image-env: setup ## the images' environments, by the Dockerfiles' own steps, under .tools/images
	$(BIN)/python -m rehearsal.images cpu gpu

clean: ## removes the virtual environment and what the demo made
	rm -rf $(VENV) .tools .home demo-output bench-output rehearsal-output
