# Everything happens in .venv of this folder; nothing global is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help venv demo test test-slow test-again pictures lint docs wheel clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

venv: .venv/.installed  ## make .venv with pinned requirements

.venv/.installed: requirements.txt requirements-clients.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is wanted, {v.major}.{v.minor} was found. Try: make PYTHON=python3.12 venv")'
	@echo "Making .venv and installing pinned requirements (about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-clients.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: venv  ## the main job on real data: run, report, one live prediction over HTTP
	@bash examples/income/demo.sh $(BIN)

test: venv  ## the suite, without tests of more than some seconds each
	@echo "Running the tests (about nine minutes on two cores) ..."
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not alone"

test-slow: venv  ## the rest of the tests, which CI runs as well: kills, whole runs, budgets
	@echo "Running the slow tests (about half an hour on two cores) ..."
	@failed=0; \
	  $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "slow and not alone" || failed=1; \
	  $(BIN)/python -m pytest -m alone || failed=1; exit $$failed

test-again: venv  ## what failed last, one after the other
	@$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -rA --no-header

pictures: venv  ## the screenshots of the README, of the example's newest run
	@MODELWRIGHT_PICTURES=docs/pictures MODELWRIGHT_PICTURES_OF=$$(ls -d examples/income/runs/2*/ | tail -1) \
	  $(BIN)/python -m pytest tests/release/test_report.py -k look_like_something

lint: venv  ## style, import direction, types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check src tests benchmarks
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy

docs: venv  ## the documentation, strict
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: venv  ## dist/*.whl
	@$(BIN)/python -m build --wheel --outdir dist .

clean:  ## remove what was made here
	rm -rf .venv dist site build runs .modelwright examples/*/runs examples/*/.modelwright
