# The daily commands. Each sets itself up: only Python 3.11 or newer, pip and make are needed.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS ?= 3
SECONDS ?= 120

.PHONY: help demo test test-live coverage mutate fuzz kill-matrix fault-matrix bench lock lint format clean

help:            ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt -e '.[dev]'
	@touch $@

demo: $(READY)   ## start the embedded XNAT and mirror its project PTV000 into demo-data/
	$(BIN)/xnat-sync demo --dest demo-data

test: $(READY)   ## run every test that needs no real server
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-live: $(READY)  ## tests that only read, on a real server: make test-live XNAT_HOST=https://... XNAT_PROJECT=SMALL
	XNAT_HOST='$(XNAT_HOST)' XNAT_PROJECT='$(XNAT_PROJECT)' $(BIN)/python -m pytest -m live tests/system

fuzz: $(READY)   ## fuzz whatever reads what others wrote: make fuzz SECONDS=3600
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

coverage: $(READY)  ## every branch of the pure core is tested, by its own tests alone
	$(BIN)/python -m coverage run -m pytest -q --hypothesis-profile=ci tests/core
	$(BIN)/python -m coverage report

kill-matrix: $(READY)  ## kill a run at every call that changes the disk, cut the power: make kill-matrix KILL='--sample 50'
	$(BIN)/python tests/kill/run.py $(KILL)

fault-matrix: $(READY)  ## every fault at every request, and nights with many: make fault-matrix FAULTS='--step 20 --seeds 1000'
	$(BIN)/python tests/faults/run.py --jobs $(WORKERS) $(FAULTS)

mutate: $(READY)  ## change the core's decisions one by one, and see that some test notices each change
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt -e '.[mutate]'
	$(BIN)/python tests/mutate.py --jobs $(WORKERS)

lint: $(READY)   ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tests

bench: $(READY)  ## compare with curl, unzip and other XNAT clients: make bench BENCH=--quick
	$(BIN)/python benchmarks $(BENCH)

lock: $(READY)   ## renew the versions in constraints-dev.txt from what is installed
	{ head -2 constraints-dev.txt; $(BIN)/python -m pip freeze --exclude-editable; } > constraints-dev.new
	mv constraints-dev.new constraints-dev.txt

format: $(READY) ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment, caches and the demo's data
	rm -rf $(VENV) demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
