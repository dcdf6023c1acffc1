# make        set up, run the pipeline, say where the report lies
# make test   set up with the test extras, run the tests
PYTHON ?= python3
VENV ?= .venv
# The stages call `python`: the one of the environment has to come first.
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: all test lint clean
all: $(VENV)/installed
	dvc repro
	@echo "The report lies in plots/report.html"

test: $(VENV)/installed-test
	python -m pytest

lint: $(VENV)/installed-test
	ruff check .
	ruff format --check .
	mypy

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --requirement $<
	touch $@

$(VENV)/installed-test: requirements-test.txt $(VENV)/installed
	python -m pip install --quiet --requirement $<
	touch $@

clean:
	rm -rf $(VENV)
