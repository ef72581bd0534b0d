# Two commands for a newcomer: `make demo` and `make test`. Each does all of its own set-up.
PYTHON ?= python3
VENV_PYTHON := .venv/bin/python

.PHONY: help demo test chaos lint audit lock sbom fuzz setup bench bench-check train evaluate \
	screenshots clean

help:
	@echo "make demo [PHOTO=file] [PORT=8000]   start everything here and send one photo through it"
	@echo "make test                            install what tests need and run all of them"
	@echo "make chaos                           do every fault to a running installation, both stacks"
	@echo "make lint                            ruff format and rules, mypy strict, import contracts"
	@echo "make audit                           bandit, and known faults of the packages we install"
	@echo "make fuzz [INPUTS=100000]            hostile inputs for container, portal, FHIR and photos"
	@echo "make lock                            write the locks anew: every package with its hashes"
	@echo "make sbom                            write the list of what is installed, runs/sbom.cdx.json"
	@echo "make bench [ONLY=queue-page]         one JSON line for each benchmark, then a table"
	@echo "make bench-check [ONLY=...]          measure anew; fail where a kept ratio got worse"
	@echo "make train MEMBER=efficientnet_b0 MINUTES=20   train one member of the ensemble"
	@echo "make evaluate IMAGES=path LABELS=csv OUT=dir   evaluate the live bundle"
	@echo "make screenshots                     make the pictures of docs/img anew"

demo:
	@$(PYTHON) bin/demo $(if $(PHOTO),--photo "$(PHOTO)") $(if $(PORT),--port $(PORT))

test:
	@$(PYTHON) bin/test

chaos:
	@$(PYTHON) bin/chaos --out docs/chaos.md --summary README.md

setup:
	@$(PYTHON) tools/bootstrap.py requirements-dev.txt

lint: setup
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

audit: setup
	@$(VENV_PYTHON) -m bandit --quiet --recursive --severity-level medium \
		config.py web worker clinic ml tools
	@$(VENV_PYTHON) -m tools.audit

fuzz: setup
	@$(VENV_PYTHON) -m pytest tests/fuzz -q --timeout 0 --fuzz-inputs $(or $(INPUTS),100000)

lock: setup
	@$(VENV_PYTHON) -m tools.lock

sbom: setup
	@mkdir -p runs
	@cat requirements.lock requirements-torch.lock | $(VENV_PYTHON) -m cyclonedx_py requirements - \
		--pyproject pyproject.toml --output-reproducible --output-file runs/sbom.cdx.json
	@echo "The list is in runs/sbom.cdx.json."

bench: setup
	@$(VENV_PYTHON) -m tools.bench $(foreach one,$(ONLY),--only $(one))

bench-check: setup
	@$(VENV_PYTHON) -m tools.bench --check $(foreach one,$(ONLY),--only $(one))

train: setup
	@$(VENV_PYTHON) -m ml.train --member $(MEMBER) --minutes $(MINUTES) --out runs/$(MEMBER)

evaluate: setup
	@$(VENV_PYTHON) -m ml.evaluate --images "$(IMAGES)" --labels "$(LABELS)" --out "$(OUT)"

screenshots: setup
	@$(PYTHON) bin/test tests/browser/test_journey.py
	@$(VENV_PYTHON) -m tools.readme_pictures

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis runs var
