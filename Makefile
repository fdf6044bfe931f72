# Needs python3 (3.10 to 3.13) with venv, and make. Everything is installed into .venv and written under out/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
OUT ?= out

# make demo SCAN=my_scan.ply FIT_FLAGS="--units cm"
SCAN ?= src/imhead/assets/demo_scan.ply
FIT_FLAGS ?=

# make train-default ICT=path      a clone of ICT-FaceKit, or its packed .npz
# make evaluate SUITE=real DATA=path      a folder of scans
ICT ?= ../ICT-FaceKit
RUN ?= $(OUT)/runs/default
# make fuzz COUNT=1000      changed scans to open; other files in proportion
COUNT ?= 100000
SUITE ?= heldout
DATA ?= $(ICT)

.PHONY: help install demo test test-slow test-browser docs test-notebooks test-web-demo fuzz check train-default evaluate clean
.DEFAULT_GOAL := help

help:
	@echo "make demo           fit a scan, edit its nose, mesh and compare it   [SCAN=path]"
	@echo "make test           make check, then the fast tests"
	@echo "make test-slow      the tests that take long"
	@echo "make test-browser   a person's session in Chromium (apt-get install chromium)"
	@echo "make docs           the site, in out/site; a warning or a dead link ends it"
	@echo "make test-notebooks the notebooks, and the site"
	@echo "make test-web-demo  the page of demo/, in an environment of its own"
	@echo "make fuzz           opens changed files of every kind; goes on where it was ended   [COUNT]"
	@echo "make check          formatting, lint and types"
	@echo "make evaluate       accuracy in mm, on unseen heads                     [SUITE, DATA]"
	@echo "make train-default  train the default model                          [ICT=clone of ICT-FaceKit]"
	@echo "make clean          remove out/ (the environment stays)"

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,studio]"
	touch $@

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/imhead demo "$(SCAN)" --out "$(OUT)/demo" $(FIT_FLAGS)

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

test-slow: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,studio,cluster]"
	$(BIN)/pytest -q -m slow --timeout 1800

test-browser: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,studio,browser]"
	$(BIN)/python -m pytest -q -n 0 -m slow tests/browser

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

test-notebooks: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,docs]"
	$(BIN)/python -m pytest -q -n 0 -m "slow or not slow" tests/docs

test-web-demo: $(STAMP)
	test -x "$(OUT)/web_demo/bin/python" || $(PYTHON) -m venv "$(OUT)/web_demo"
	"$(OUT)/web_demo/bin/python" -m pip install --quiet torch==2.13.0
	"$(OUT)/web_demo/bin/python" -m pip install --quiet -r demo/requirements.txt pytest pytest-timeout hypothesis -e .
	"$(OUT)/web_demo/bin/python" -m pytest -q -m slow tests/demo

fuzz: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.campaign --count $(COUNT) --state "$(OUT)/fuzz/state.json"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

train-default: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[anny]"
	test -f "$(RUN)/data/manifest.json" || $(BIN)/imhead data build --ict "$(ICT)" --out "$(RUN)/data"
	$(BIN)/imhead train default --data "$(RUN)/data" --ict "$(ICT)" --out "$(RUN)" --resume

evaluate: $(STAMP)
	@mkdir -p "$(OUT)"
	$(BIN)/imhead eval --suite $(SUITE) --data "$(DATA)" --json > "$(OUT)/eval_$(SUITE).json"
	@echo "$(OUT)/eval_$(SUITE).json"

clean:
	rm -rf "$(OUT)"
