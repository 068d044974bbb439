# `make demo` and `make test` set everything up by themselves; a second run reinstalls nothing.

VENV := .venv
BIN := $(VENV)/bin
CPU := $(VENV)/.cpu-installed
DEV := $(VENV)/.dev-installed
DEMO_ARGS ?=
# The modules that decide something: their mutants are part of `make test-long`.
DECIDING := tuning/evaluation/gate.py tuning/training/preference_set.py \
	bot/experiments/policy.py $(wildcard bot/experiments/stats/*.py) \
	bot/answering/admission.py bot/answering/routing.py data/experiments/assignments.py \
	data/feedback/feedback.py data/feedback/reactions.py data/feedback/rating_totals.py \
	data/feedback/raters.py data/feedback/rater_anomalies.py data/pairs/review_status.py \
	data/pairs/review_queue.py data/pairs/preference_sets.py data/pairs/datasets.py

.PHONY: help demo unit test test-fast test-long simulate chaos clients mutants check install install-gpu dev lock docs pocket bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(CPU) ## install, then see the whole loop on this machine (Ctrl-C ends it)
	@$(BIN)/understudy demo $(DEMO_ARGS)

test: $(DEV) ## install, then run all tests but those on a real base model
	@$(MAKE) --no-print-directory test-fast
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "slow and not long" -n 2 --dist loadfile --no-loadscope-reorder

unit: $(DEV) ## the tests that start no process and load no model: under a minute
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not integration" -n 2 --dist worksteal

test-fast: $(DEV) ## the tests that take seconds, three at a time: none that tunes or starts vLLM
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 3 --dist worksteal

test-long: test ## all tests, also on a real base model, then all mutation tests (hours)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long
	@for module in $(DECIDING); do \
		$(MAKE) --no-print-directory mutants MODULE=$$module || exit 1; done

check: $(DEV) ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

install: $(CPU) ## a CPU machine: PyTorch, vLLM and all the rest into .venv

install-gpu: ## a GPU host: the CUDA builds of PyTorch and vLLM into .venv
	@sh requirements/install-gpu.sh $(VENV)

dev: $(DEV) ## as install, with the tools of check and test

$(CPU): requirements/cpu.txt requirements/torch.txt requirements/install-cpu.sh pyproject.toml
	@sh requirements/install-cpu.sh $(VENV)
	@touch $@

$(DEV): $(CPU) requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

docs: $(DEV) ## write the reference pages and the Slack pictures in docs/ from the code
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tests.bot.slack.test_docs
	@$(BIN)/python -m tests.bot.slack.test_member_docs

lock: $(DEV) ## resolve requirements/*.in into the pinned lists
	@sh requirements/lock.sh $(BIN)/uv

simulate: $(DEV) ## a million random steps of runs, engines and comparisons; STEPS and SEED set others
	@$(BIN)/python -m tests.simulation --steps $(or $(STEPS),1000000) --seed $(or $(SEED),$(shell date +%s))

chaos: $(DEV) ## kills, pauses and floods over the whole system, for ten minutes; DURATION (s), SEED
	@$(BIN)/python benchmarks/chaos.py --seconds $(or $(DURATION),600) --seed $(or $(SEED),$(shell date +%s))

clients: $(DEV) ## what clients in Python, JavaScript and Java and chat programs get; NAMES chooses some
	@$(BIN)/python -m tests.bot.clients $(NAMES)

mutants: $(DEV) ## which faults in MODULE=tuning/evaluation/gate.py would the tests not notice?
	@$(BIN)/python -m tests.mutants $(MODULE) $(MUTANTS_ARGS)

pocket: $(CPU) ## pretrain the shipped base model again (about 15 minutes on two cores)
	@$(BIN)/python -m tools.pocket --out data/pocket

bench: $(DEV) ## run every benchmark
	@for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

clean: ## remove the environment, caches and the demo's folder
	rm -rf $(VENV) understudy-demo* .mypy_cache .ruff_cache .pytest_cache *.egg-info
