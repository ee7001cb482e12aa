# Python and make are all that is needed: each target makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: setup dev demo test check bench docs wheel-demo clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

setup: $(VENV)/.installed
dev: $(VENV)/.installed-dev

demo: setup
	$(BIN)/mrsynth demo --out demo

test: dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=20 --durations-min=5

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev
	$(BIN)/python -m benchmarks.run

docs: $(VENV)/.installed-docs
	$(BIN)/python scripts/make_reference.py
	$(BIN)/zensical build --clean --strict

# The wheel, alone in an empty environment, makes the whole demo (10 minutes on two cores).
wheel-demo:
	rm -rf build/wheel-demo && mkdir -p build/wheel-demo
	$(PYTHON) -m venv build/wheel-demo/env
	build/wheel-demo/env/bin/pip wheel --quiet --no-deps -w build/wheel-demo .
	build/wheel-demo/env/bin/pip install --quiet -c constraints.txt torch==2.13.0 build/wheel-demo/mrsynth-*.whl
	cd build/wheel-demo && env/bin/mrsynth demo --out demo

clean:
	rm -rf $(VENV) demo build site *.egg-info
