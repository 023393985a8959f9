# Two commands for newcomers: `make run` and `make test`. README says the same in plain lines for people without make.
PORT ?= 7860
HOST ?= 127.0.0.1
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test check lint types bench bench-gpu soak pocket screenshots clean

run: $(VENV)/.run
	HOST=$(HOST) PORT=$(PORT) $(BIN)/python app.py $(ARGS)

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types

bench: $(VENV)/.dev
	$(BIN)/python bench/cpu.py $(ARGS)

bench-gpu: $(VENV)/.dev
	$(BIN)/python -m bench.gpu $(ARGS)

soak: $(VENV)/.dev
	$(BIN)/python bench/soak_kill.py $(ARGS)
	$(BIN)/python bench/soak_leaks.py

pocket: $(VENV)/.dev
	$(BIN)/python -m pocket.train all

screenshots: $(VENV)/.dev
	$(BIN)/python docs/make_screenshots.py

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
