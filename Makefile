# Two commands: `make report` (environment, reference service, acceptance suite, report) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY := .venv/.ready

.PHONY: report test docs wheel quick lab clean lint types unit performance benchmark calibration audit campaign environment

report: $(READY)  ## the acceptance suite at full size, and its report
	$(BIN)/perflib run acceptance || [ $$? -le 3 -a $$? -ne 2 ]
	$(BIN)/perflib report latest

quick: $(READY)  ## the same, shortened
	$(BIN)/perflib run acceptance --quick || [ $$? -le 3 -a $$? -ne 2 ]
	$(BIN)/perflib report latest

test: lint types unit  ## lint, types, tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal || \
	    { echo "once more, one after the other, what a busy machine may have made fail:"; \
	      $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

wheel: $(READY)  ## builds the wheel and tries it alone: a fresh environment, an empty folder, every command, the tutorial; the Action; the site
	$(BIN)/python -m pytest -m slow -s -q tests/project/test_wheel.py tests/project/test_action.py \
	    tests/project/test_site.py

docs: $(READY)  ## the site, to site/index.html; a broken link is an error
	$(BIN)/python -m mkdocs build --quiet

performance: $(READY)  ## the acceptance tests, one per scenario
	$(BIN)/python -m pytest tests/performance -m performance

benchmark: $(READY)  ## ratios against peers, which it installs; takes half an hour
	bash tests/benchmarks/setup.sh
	$(BIN)/python -m tests.benchmarks

calibration: $(READY)  ## how often intervals, alarms and findings are right, by simulation; takes some minutes
	$(BIN)/python -m tests.benchmarks.calibration

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/perflib lab

audit: $(READY)  ## licences of all packages, and known vulnerabilities where an index is reachable
	$(BIN)/python -m tools.supply_chain

campaign: $(READY)  ## kills, faults and attacks, for a quarter of an hour; its table says what was lost
	$(BIN)/python -m tests.campaign

environment: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "perflib needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) uv
	$(BIN)/uv pip install --quiet --system-certs --compile-bytecode -c constraints.txt -e '.[all]' || $(PIP) -e '.[all]'
	@touch $@

clean:  ## remove the environment, runs and reports
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis data/runs reports/latest reports/2*
