# Two commands do everything: `make app` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

.PHONY: setup app demo test test-vllm vllm-env test-cluster cluster-env bench check format screenshots demo-model faults fuzz audit clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.txt requirements-dev.txt requirements-eval.txt
	$(PYTHON) -c 'import sys; sys.exit("LPD Studio needs Python 3.11 or newer; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

app: setup  ## the dashboard, at http://localhost:8501
	$(PY) -m streamlit run app.py

demo: setup  ## three iterations of STaPLe on the shipped model, a few minutes on two cores
	$(PY) -m lpd_core run --preset demo

test: setup
	$(PY) -m pytest -n 2 --dist worksteal

test-vllm: setup  ## the tests of vLLM alone, in its own environment
	$(PY) -m pytest tests/vllm

vllm-env: setup  ## vLLM for CPUs in build/vllm-env (4 GB), for sampler.python
	$(PY) -m tests.vllm.environment

test-cluster: setup  ## the tests on a Ray cluster of local nodes, in Ray's own environment
	$(PY) -m pytest tests/cluster

cluster-env: setup  ## Ray on top of .venv in build/cluster-env (0.3 GB), for sampler.python
	$(PY) -m tests.cluster.environment

bench: setup  ## every benchmark that takes less than minutes; BENCH=--long for all, BENCH='--write scoring' for one
	$(PY) -m bench $(BENCH)

check: setup
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(PY) -m pytest -n 2 --dist worksteal

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

screenshots: setup  ## every page, light and dark, into docs/screenshots (needs chromium)
	$(PY) -m tests.e2e.screenshots

faults: setup  ## the long form: 36 kills each of driver, stage and server and 36 full disks on the demo run, resumed to the same rows
	$(PY) -m tests.faults.kills --preset demo --kills 36 --write

fuzz: setup  ## 100,000 generated inputs a parser, fifteen minutes each at most, into docs/reliability.md
	$(PY) -m tests.fuzz --examples 100000 --minutes 15 --write

audit: setup  ## known holes in the installed libraries, asked of PyPI's advisory service, in an environment of its own
	$(PYTHON) -m venv build/audit-env
	build/audit-env/bin/pip install --quiet --disable-pip-version-check pip-audit
	build/audit-env/bin/pip-audit --progress-spinner off --path $(VENV)/lib/python*/site-packages

demo-model: setup  ## rebuild the demo's world, tokenizer and model from nothing (about an hour)
	$(PY) -m data.demo.builder all

clean:  ## what make has installed; runs and the database stay
	rm -rf $(VENV) build
