# Every target installs what it needs into a virtual environment of its own on first use.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Tests whose outcome hangs on how a CPU rounds, run again below as other CPUs would compute them.
NUMERICAL := tests/methods tests/test_precision.py tests/test_oracles.py

.PHONY: demo studio test test-numerics test-slow lint format install clean

demo: install
	$(BIN)/python run.py -m method=nothing,turn,dragdiffusion data.subset=demo results_dir=results/demo
	$(BIN)/python run.py method=rotationdrag method.rotation_step=4 data.subset=demo results_dir=results/demo
	$(BIN)/python run.py task=demo results_dir=results/demo

studio: install
	$(BIN)/python run.py task=studio

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-numerics: install
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/python -m pytest -n 2 $(NUMERICAL)
	OMP_NUM_THREADS=2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m pytest $(NUMERICAL)

# On one thread: some of these fork, and a fork of a process whose threads have computed may hang.
test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[dev,tools,cluster,studio,study]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
