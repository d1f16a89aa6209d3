# Every target builds the environment it needs: nothing has to be installed or activated first.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV ?= .venv
VENV_BENCH ?= .venv-bench
VENV_DOCS ?= .venv-docs
VENV_CLUSTER ?= .venv-cluster
VENV_UI ?= .venv-ui
# MCP servers of other people, which must not share an environment with Airflow.
TOOL_SERVERS ?= .venv-tool-servers
# fal's, Replicate's and OpenAI's own clients, and Replicate's prediction server, likewise.
CLIENTS ?= .venv-clients
# What looks at our own dependencies and workflows.
VENV_AUDIT ?= .venv-audit
# Every Airflow and every Python once, the oldest with the oldest. All nine pairs: see .github/workflows.
MATRIX ?= 3.1-py3.11 3.2-py3.12 3.3-py3.13
SERVICE ?= local
MODEL ?=
AIRFLOW ?=
KEEP ?=
QUICK ?=

# What an active environment or the user's own Airflow would bring along must not reach ours.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH VIRTUAL_ENV
unexport PIP_CONSTRAINT PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_USER
unexport $(filter AIRFLOW_%,$(.VARIABLES))

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9. -]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PYTHON=... (3.11 or newer), SERVICE=local|acedatacloud|xhuoapi|aigptimage|kie|fal|replicate|openai|acedatacloud_mcp|gpt_image_mcp, MODEL=flux/flux-2-pro, AIRFLOW=3.4 and KEEP=1 (demo), ARGUMENTS=..."
	@echo "MATRIX=\"3.1-py3.11 ...\" (test-matrix), PYTHON_3_12=... (where test-matrix finds no Python 3.12 itself)"

.PHONY: install
install: $(VENV)/.installed ## Build .venv with the package and its development tools

.PHONY: check
check: $(VENV)/.installed ## Check format, lint and types
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

.PHONY: format
format: $(VENV)/.installed ## Format the code and apply the safe lint fixes
	@$(VENV)/bin/ruff check --fix-only --quiet .
	@$(VENV)/bin/ruff format .

.PHONY: test
test: $(VENV)/.installed ## Run the tests of a few minutes: unit, contract, task runner, and the example Dags in a real Airflow
	@$(call run_tests,$(VENV)/bin/python)

.PHONY: test-slow
test-slow: $(VENV)/.installed ## Search a whole Airflow for keys, kill submissions (the short form), and ask for the gallery, assets and metrics; eleven minutes
	@$(VENV)/bin/python -m pytest -m "slow and not long" $(ARGUMENTS)

.PHONY: test-unit
test-unit: $(VENV)/.installed ## Run those of them that start no Airflow
	@$(VENV)/bin/python -m pytest -m "not system and not long and not slow" $(ARGUMENTS)

.PHONY: test-system
test-system: $(VENV)/.installed ## Run those of them that start a real Airflow
	@$(VENV)/bin/python -m pytest -m "system and not long and not slow" $(ARGUMENTS)

.PHONY: test-waits
test-waits: $(VENV)/.installed ## Run 200 mapped sensors in a real Airflow whose triggerer is killed; some six minutes
	@$(VENV)/bin/python -m pytest -m long tests/system/test_many_waits.py $(ARGUMENTS)

.PHONY: test-batch
test-batch: $(VENV)/.installed ## Kill a batch of 1,000 three times in a real Airflow, break and freeze others; five minutes (WRITE_DOCS=1: docs/outcomes.md)
	@$(VENV)/bin/python -m pytest -m long tests/system/test_batch_killed.py tests/system/test_batch_paid_once.py $(ARGUMENTS)

.PHONY: test-batch-airflow-3.1
test-batch-airflow-3.1: .venv-3.1/.installed ## Do the same on the newest Airflow 3.1; eight minutes
	@.venv-3.1/bin/python -m pytest -m long tests/system/test_batch_killed.py tests/system/test_batch_paid_once.py $(ARGUMENTS)

.PHONY: test-gallery-queries test-gallery-queries-airflow-3.4
test-gallery-queries: $(VENV)/.installed ## Have PostgreSQL explain every query of the gallery beside 100,000 XComs; two minutes
	@$(VENV)/bin/python -m pytest -m long tests/ui/test_gallery_queries.py $(ARGUMENTS)

test-gallery-queries-airflow-3.4: .venv-3.4/.installed ## Do the same on the newest pre-release of Airflow 3.4; two minutes
	@.venv-3.4/bin/python -m pytest -m long tests/ui/test_gallery_queries.py $(ARGUMENTS)

.PHONY: test-model
test-model: $(VENV)/.installed ## Try 2,000 orders of kills, Clears, refusals and lost answers on a batch and on a submission, and count what was paid; kill a provider batch fifty times; ten minutes
	@$(VENV)/bin/python -m pytest -m long tests/batch/test_paid_once_model.py tests/submissions/test_paid_once_model.py tests/batch/provider/test_provider_batch_killed.py $(ARGUMENTS)

.PHONY: test-hostile
test-hostile: $(VENV)/.installed ## Download and deliver 20,000 mutated pictures, and the other long forms of what comes from outside; ten minutes
	@$(VENV)/bin/python -m pytest -m long tests/files tests/operators $(ARGUMENTS)

.PHONY: test-chaos
test-chaos: $(VENV)/.installed ## Kill and cut submissions in a real Airflow and count what was paid, with PostgreSQL; five minutes (WRITE_DOCS=1: docs/outcomes.md)
	@$(VENV)/bin/python -m pytest -m long tests/system/test_never_pays_twice.py $(ARGUMENTS)

.PHONY: test-chaos-queues
test-chaos-queues: $(VENV)/.installed ## Do the same with fal, Replicate and OpenAI; five minutes
	@MONEY_SERVICES=fal,replicate,openai $(VENV)/bin/python -m pytest -m long tests/system/test_never_pays_twice.py $(ARGUMENTS)

.PHONY: test-chaos-mcp
test-chaos-mcp: $(VENV)/.installed ## Do the same with the two MCP services; four minutes
	@MONEY_SERVICES=acedatacloud_mcp,gpt_image_mcp $(VENV)/bin/python -m pytest -m long tests/system/test_never_pays_twice.py $(ARGUMENTS)

.PHONY: test-chaos-airflow-3.1
test-chaos-airflow-3.1: .venv-3.1/.installed ## Do the same on the newest Airflow 3.1, with ledger_path and without; six minutes
	@.venv-3.1/bin/python -m pytest -m long tests/system/test_never_pays_twice.py $(ARGUMENTS)

.PHONY: test-chaos-airflow-3.4
test-chaos-airflow-3.4: .venv-3.4/.installed ## Do the same on the newest pre-release of Airflow 3.4, and clear tasks in each way; ten minutes
	@.venv-3.4/bin/python -m pytest -m long tests/system/test_never_pays_twice.py $(ARGUMENTS)

.PHONY: test-cancel test-cancel-airflow-3.4
test-cancel: $(VENV)/.installed ## End tasks that wait on workers and on the triggerer, and see what fal and Replicate are told to stop; with PostgreSQL; eight minutes
	@$(VENV)/bin/python -m pytest -m long tests/system/test_cancel_on_kill.py $(ARGUMENTS)

test-cancel-airflow-3.4: .venv-3.4/.installed ## Do the same on the newest pre-release of Airflow 3.4; eight minutes
	@.venv-3.4/bin/python -m pytest -m long tests/system/test_cancel_on_kill.py $(ARGUMENTS)

.PHONY: test-expiry
test-expiry: $(VENV)/.installed ## Store 500 pictures that die within the hour while a pool is full, and measure how long they lay; with PostgreSQL; eight minutes
	@$(VENV)/bin/python -m pytest -m long -s tests/system/test_results_that_die.py $(ARGUMENTS)

.PHONY: test-airflow-3.1 test-airflow-3.2 test-airflow-3.4
test-airflow-3.1 test-airflow-3.2 test-airflow-3.4: test-airflow-%: .venv-%/.installed ## Run what test runs, on the newest Airflow of that minor, in an environment of its own
	@.venv-$*/bin/python -m dev.installed_versions --airflow $* $(call constraints_for,$*)
	@$(call run_tests,.venv-$*/bin/python)

.PHONY: test-unit-airflow-3.1 test-unit-airflow-3.4 test-system-airflow-3.1 test-system-airflow-3.4
test-unit-airflow-3.1 test-unit-airflow-3.4: test-unit-airflow-%: .venv-%/.installed ## Run those that start no Airflow
	@.venv-$*/bin/python -m dev.installed_versions --airflow $* $(call constraints_for,$*)
	@$(call run_unit_tests,.venv-$*/bin/python)

test-system-airflow-3.1 test-system-airflow-3.4: test-system-airflow-%: .venv-%/.installed ## Run those that start a real Airflow
	@$(call run_system_tests,.venv-$*/bin/python)

.PHONY: test-matrix
test-matrix: $(MATRIX:%=.venv-%/.installed) ## Run the unit tests and the example Dags on each Airflow and each Python; eight minutes
	@$(find_python); $$python -m dev.version_matrix $(MATRIX)

.PHONY: test-accounts
test-accounts: $(VENV)/.installed ## Submit from four Dags of a real Airflow with one account, and race on a store in PostgreSQL; five minutes
	@$(VENV)/bin/python -m pytest -m long -s tests/accounts tests/polling/test_session.py tests/system/test_account_limits.py $(ARGUMENTS)

.PHONY: test-cluster
test-cluster: $(VENV_CLUSTER)/.installed ## Kill workers, triggerers and PostgreSQL under CeleryExecutor and an S3 server, and count pictures; five minutes
	@$(VENV_CLUSTER)/bin/python -m pytest -m long -s tests/system/test_cluster.py $(ARGUMENTS)

.PHONY: test-cluster-account
test-cluster-account: $(VENV_CLUSTER)/.installed ## Have the same cluster keep to one account's rate and places while a worker and a triggerer die; four minutes
	@$(VENV_CLUSTER)/bin/python -m pytest -m long -s tests/system/test_cluster_account.py $(ARGUMENTS)

.PHONY: test-ui
test-ui: $(VENV_UI)/.installed ## Look at the gallery in a real Airflow with Chromium (CHROMIUM=...); screenshots in test-ui-output/; ten minutes
	@$(VENV_UI)/bin/python -m pytest -m long tests/browser $(ARGUMENTS)

.PHONY: test-ui-airflow-3.4
test-ui-airflow-3.4: $(VENV_UI)-3.4/.installed ## Do the same on the newest pre-release of Airflow 3.4, with a task loop
	@$(VENV_UI)-3.4/bin/python -m pytest -m long tests/browser $(ARGUMENTS)

.PHONY: docs
docs: $(VENV_DOCS)/.installed ## Build the documentation into docs-output/; a warning or a broken link ends it
	@rm -rf docs-output
	@$(VENV_DOCS)/bin/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --quiet docs docs-output
	@echo "docs-output/index.html"

.PHONY: test-mcp-servers
test-mcp-servers: $(VENV)/.installed $(TOOL_SERVERS)/.installed ## Run the real MCP servers beside their doubles (GPT-Image: with node and npm; GPT_IMAGE_SERVER=checkout); two minutes
	@TOOL_SERVERS=$(TOOL_SERVERS) GPT_IMAGE_SERVER="$(GPT_IMAGE_SERVER)" $(VENV)/bin/python -m pytest -m long tests/system/test_real_tool_servers.py $(ARGUMENTS)

.PHONY: test-clients
test-clients: $(VENV)/.installed $(CLIENTS)/.installed ## Let fal's, Replicate's and OpenAI's own clients ask the local image service, and ask Replicate's own server; one minute
	@CLIENTS=$(CLIENTS) $(VENV)/bin/python -m pytest -m long tests/local/test_their_own_clients.py tests/local/test_cogs_own_server.py $(ARGUMENTS)

.PHONY: test-callbacks
test-callbacks: $(VENV)/.installed ## Call a real Airflow back for fifty waiting tasks at once, and with forged, early and late calls; five minutes
	@$(VENV)/bin/python -m pytest -m long tests/system/test_callbacks_wake_tasks.py $(ARGUMENTS)

.PHONY: test-callbacks-airflow-3.1
test-callbacks-airflow-3.1: .venv-3.1/.installed ## Do the same on the newest Airflow 3.1
	@.venv-3.1/bin/python -m pytest -m long tests/system/test_callbacks_wake_tasks.py $(ARGUMENTS)

.PHONY: dist
dist: $(VENV)/.installed ## Build wheel and sdist into dist/, check them, and run a shipped example from the wheel in a bare environment
	@$(VENV)/bin/python -m dev.distribution

.PHONY: audit
audit: $(VENV_AUDIT)/.installed ## Look for known holes in the pinned packages, and for risks in the workflows; asks the registry of advisories
	@$(VENV_AUDIT)/bin/zizmor --offline --persona pedantic --quiet .github
	@$(VENV_AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

.PHONY: sbom
sbom: $(VENV_AUDIT)/.installed ## List all that an installation of dist/ brings along, as CycloneDX, in sbom/; after make dist
	@rm -rf sbom build/installed && mkdir -p sbom
	@$(find_python); $$python -m venv build/installed
	@build/installed/bin/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	@$(VENV_AUDIT)/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
		--output-file sbom/airflow-provider-imagetasks.cdx.json build/installed/bin/python
	@echo "sbom/airflow-provider-imagetasks.cdx.json"

# The environment of AIRFLOW=3.4, or of 3.1 or 3.2; else the project's own.
demo_environment := $(if $(AIRFLOW),.venv-$(AIRFLOW),$(VENV))

.PHONY: demo announce-demo
announce-demo:
	@echo "A real Airflow and the local image service make six pictures on this machine: no key, and nothing is left behind but"
	@echo "the environment and demo-output/."

demo: announce-demo $(demo_environment)/.installed ## Make pictures with a real Airflow and the local image service; KEEP=1 leaves both running, AIRFLOW=3.4 is that one
	@exec $(demo_environment)/bin/python -m dev.demo --service "$(SERVICE)" $(if $(MODEL),--model "$(MODEL)") $(if $(filter-out 0 no false,$(KEEP)),--keep)

.PHONY: local-service
local-service: $(VENV)/.installed ## Run the local image service on port 8750; ARGUMENTS="--help" lists its options
	@$(VENV)/bin/python -m airflow_provider_imagetasks.local $(ARGUMENTS)

.PHONY: bench
bench: $(VENV_BENCH)/.installed ## Measure waits and downloads beside others (15 minutes; QUICK=1: 3) for docs/performance.md
	@$(VENV_BENCH)/bin/python -m benchmarks $(if $(filter-out 0 no false,$(QUICK)),--quick,--write) $(ARGUMENTS)

.PHONY: bench-batch
bench-batch: $(VENV_BENCH)/.installed ## Measure batches beside mapped tasks in a real Airflow for docs/performance.md; 25 minutes
	@$(VENV_BENCH)/bin/python -m benchmarks.batch --write $(ARGUMENTS)

.PHONY: bench-result-file
bench-result-file: $(VENV)/.installed ## Measure a provider batch whose file of results has 3 GB beside curl; needs 7 GB of disk; three minutes
	@$(VENV)/bin/python -m benchmarks.batch.result_files $(ARGUMENTS)

.PHONY: bench-gallery
bench-gallery: $(VENV_UI)/.installed ## Measure the gallery with 10,000 pictures for docs/performance.md, with Chromium; five minutes
	@$(VENV_UI)/bin/python -m benchmarks.gallery --write $(ARGUMENTS)

.PHONY: bench-accounts
bench-accounts: $(VENV)/.installed ## Measure what asking the account store costs with eight processes; a minute
	@$(VENV)/bin/python -m benchmarks.accounts $(ARGUMENTS)

.PHONY: screenshots
screenshots: $(VENV_UI)/.installed ## Make the pictures of docs/images anew, with a real Airflow and Chromium; two minutes
	@$(VENV_UI)/bin/python -m dev.screenshots

.PHONY: constraints
constraints: ## Resolve the constraints files anew; needs uv (UV=/path/to/uv)
	@$(find_python); $$python dev/compile_constraints.py "$(or $(UV),uv)"

.PHONY: clean
clean: ## Remove the environments, the caches and the demo's pictures
	@rm -rf $(VENV) $(VENV_BENCH) $(VENV_CLUSTER) $(VENV_DOCS) $(VENV_UI) $(VENV_UI)-3.4 $(TOOL_SERVERS) $(CLIENTS) $(VENV_AUDIT) $(wildcard .venv-3.*) build dist sbom demo-output docs-output test-ui-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find airflow_provider_imagetasks benchmarks dev example_dags tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A version under which the constraints are tested comes first; a newer one is better than none.
define find_python
python="$(PYTHON)"; \
if [ -z "$$python" ]; then \
	for limit in '< (3, 14)' '> (3, 13)'; do \
		for candidate in python3 python3.13 python3.12 python3.11; do \
			if $$candidate -c "import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] $$limit)" \
				>/dev/null 2>&1; then python=$$candidate; break 2; fi; \
		done; \
	done; \
fi; \
if [ -z "$$python" ]; then \
	echo "No Python 3.11 or newer with the venv module found (tried python3, python3.13, python3.12, python3.11)." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
	exit 1; \
fi; \
if ! $$python -c "import sys; sys.exit(sys.version_info < (3, 11))"; then \
	echo "PYTHON=$$python is not Python 3.11 or newer." >&2; \
	exit 1; \
fi
endef

# $(1) the minor version of Python, as 3.12. Where each version comes from is the machine's business.
define find_python_version
python="$(PYTHON_$(subst .,_,$(1)))"; \
if [ -z "$$python" ]; then \
	for candidate in python$(1) "$$(pyenv root 2>/dev/null)"/versions/$(1).*/bin/python "$$(uv python find $(1) 2>/dev/null)"; do \
		if "$$candidate" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$(1)')" \
			>/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
fi; \
if [ -z "$$python" ]; then \
	echo "No Python $(1) with the venv module found (tried python$(1) on the PATH, pyenv's and uv's)." >&2; \
	echo "Install one, or name it: make PYTHON_$(subst .,_,$(1))=/path/to/python$(1) ..." >&2; \
	exit 1; \
fi
endef

# $(1) the minor version of Airflow. The newest one's constraints are the project's own.
constraints_for = $(firstword $(wildcard constraints-airflow-$(1).txt) constraints.txt)

# $(1) the interpreter. What starts no Airflow mostly waits, so several files of it run at a time.
define run_unit_tests
$(1) -m pytest -m "not system and not long and not slow" -n 6 --dist loadfile $(ARGUMENTS)
endef
define run_system_tests
$(1) -m pytest -m "system and not long and not slow" $(ARGUMENTS)
endef
define run_tests
$(run_unit_tests) && $(run_system_tests)
endef

# A comma in a call would end its argument.
bench_extras := dev,bench
cluster_extras := dev,cluster
ui_extras := dev,ui

# $(1) the environment, $(2) its constraints, $(3) its extras, $(4) its Python (3.12) where it must be that one. Pip's
# output appears only when it fails.
define build_environment
if "$(1)/bin/python" -m pip --version >/dev/null 2>&1; then \
	echo "Bringing $(1) up to date"; \
else \
	$(if $(4),$(call find_python_version,$(4)),$(find_python)); \
	echo "Building $(1) with $$($$python --version): Airflow and what this project needs, once. A minute or two"; \
	rm -rf "$(1)"; \
	$$python -m venv "$(1)" || { rm -rf "$(1)"; exit 1; }; \
fi; \
log="$(1)/install.log"; rm -f "$$log"; \
if ! { "$(1)/bin/python" -I dev/installation.py "$$log" "$(1)/bin/python" -m pip install --constraint $(2) hatchling \
	&& "$(1)/bin/python" -I dev/installation.py "$$log" \
		"$(1)/bin/python" -m pip install --constraint $(2) --no-build-isolation --editable '.[$(3)]'; }; then \
	echo "The installation into $(1) failed." >&2; \
	exit 1; \
fi; \
touch "$@"
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(call build_environment,$(VENV),constraints.txt,dev)

$(VENV_BENCH)/.installed: pyproject.toml constraints.txt
	@$(call build_environment,$(VENV_BENCH),constraints.txt,$(bench_extras))

$(VENV_DOCS)/.installed: pyproject.toml constraints-docs.txt
	@$(call build_environment,$(VENV_DOCS),constraints-docs.txt,docs)

$(VENV_CLUSTER)/.installed: pyproject.toml constraints-cluster.txt
	@$(call build_environment,$(VENV_CLUSTER),constraints-cluster.txt,$(cluster_extras))

# Their pins stand here.
$(TOOL_SERVERS)/.installed $(CLIENTS)/.installed $(VENV_AUDIT)/.installed: Makefile

$(TOOL_SERVERS)/.installed:
	@$(find_python); $$python -m venv $(TOOL_SERVERS)
	@$(TOOL_SERVERS)/bin/python -m pip install --quiet mcp-openai-pro==2026.10.24.0 mcp-proxy==0.13.0
	@touch "$@"

$(CLIENTS)/.installed:
	@$(find_python); $$python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet fal-client==1.0.3 replicate==1.0.7 openai==3.57.0 cog==0.23.1
	@touch "$@"

$(VENV_AUDIT)/.installed:
	@$(find_python); $$python -m venv $(VENV_AUDIT)
	@$(VENV_AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1 zizmor==1.32.0 cyclonedx-bom==7.5.0
	@touch "$@"

$(VENV_UI)/.installed: pyproject.toml constraints.txt
	@$(call build_environment,$(VENV_UI),constraints.txt,$(ui_extras))

$(VENV_UI)-3.4/.installed: pyproject.toml constraints-airflow-3.4.txt
	@$(call build_environment,$(VENV_UI)-3.4,constraints-airflow-3.4.txt,$(ui_extras))

# .venv-3.1 has any Python, .venv-3.1-py3.12 has Python 3.12.
.venv-3.%/.installed: pyproject.toml $(wildcard constraints*.txt)
	@$(call build_environment,.venv-3.$*,$(call constraints_for,3.$(firstword $(subst -py, ,$*))),dev,$(word 2,$(subst -py, ,$*)))
