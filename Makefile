# `make help` lists what there is. The parts live beside what they build and test.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

include e2e-kind/cluster.mk

CARGO ?= cargo
export CARGO_INCREMENTAL ?= 0
TARGET := $(or $(CARGO_TARGET_DIR),target)
# What the end-to-end suite installs, and ends when all of it has passed.
E2E_RELEASE := oidc-proxy-e2e-system/e2e
E2E = . e2e-kind/cluster/settings.sh && OTHER_CLIENTS=$$CACHE_DIR/other-clients $(CARGO) test --locked

.PHONY: help demo demo-down generate lint test test-unit test-blackbox test-traces test-issuers fuzz test-control-plane test-cluster test-clients test-chart test-vectors test-scale test-upgrade test-recovery test-matrix test-all bench
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: ## From nothing to kubectl through the proxy: cluster, issuer, images, chart, an OidcProxy, two users
	@e2e-kind/demo/demo.sh up

demo-down: ## Ends what make demo has left running
	@e2e-kind/demo/demo.sh down
	@$(MAKE) --no-print-directory cluster-down

generate: ## Rewrites the generated files: the CustomResourceDefinition and the chart's copy of it
	$(CARGO) run --quiet -p oidcproxy-crds --bin crdgen > crds/oidcproxies.yaml.new
	mv crds/oidcproxies.yaml.new crds/oidcproxies.yaml
	cp crds/oidcproxies.yaml charts/oidc-proxy-operator/files/oidcproxies.yaml

test: ## Everything that CI runs
	@e2e-kind/ci/stages.sh lint test-unit fuzz test-blackbox test-traces test-issuers test-control-plane test-chart test-cluster test-vectors

lint: ## Formatting, clippy, generated files, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- --deny warnings
	$(CARGO) clippy -p oidc-proxy --features otel --all-targets --locked --quiet -- --deny warnings
	cmp crds/oidcproxies.yaml charts/oidc-proxy-operator/files/oidcproxies.yaml
	e2e-kind/ci/dependencies.sh

test-unit: ## Pure tests, beside the code
	$(CARGO) test --locked --quiet --lib -p oidcproxy-crds -p oidc-proxy -p oidc-proxy-operator
	$(CARGO) test --locked --quiet -p oidcproxy-expression -p oidcproxy-fuzz

fuzz: ## Fuzzes tokens, configuration, expressions and requests: FUZZ_SECONDS=15 each
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),15) e2e-kind/ci/fuzz.sh

test-blackbox: ## The proxy's binary over real sockets
	$(CARGO) build --locked --quiet -p oidc-proxy
	e2e-kind/ci/blackbox.sh

test-traces: ## The proxy built with OpenTelemetry traces, and a collector
	e2e-kind/ci/traces.sh

test-issuers: ## The proxy's binary with Keycloak and oidc-provider, without a cluster
	$(CARGO) build --locked --quiet -p oidc-proxy
	e2e-kind/ci/issuers.sh

test-control-plane: ## The proxy and the operator against a real kube-apiserver, without a node
	$(CARGO) build --locked --quiet -p oidc-proxy -p oidc-proxy-operator
	e2e-kind/ci/control-plane.sh

test-chart: clients ## The chart: lint, templates, schema
	. e2e-kind/cluster/settings.sh && charts/test.sh "$$CACHE_DIR/clients/36/helm" && charts/test.sh "$$CACHE_DIR/clients/28/helm"

test-cluster: other-clients ## The end-to-end suite on the cluster, with Keycloak; ends a demo that runs there
	$(MAKE) --no-print-directory cluster-check images
	$(CLUSTER)/releases.sh end-others $(E2E_RELEASE)
	$(MAKE) --no-print-directory issuer ISSUER=keycloak
	$(E2E) -p oidcproxy-e2e -- --test-threads=2

test-vectors: ## The release binary: what kube-apiserver makes of tokens, configurations and requests, and how soon it starts
	e2e-kind/ci/release.sh

test-clients: other-clients ## Client libraries and Helm through the proxy, and streams that are idle for minutes
	$(MAKE) --no-print-directory cluster-check images
	$(CLUSTER)/releases.sh end-others $(E2E_RELEASE)
	$(MAKE) --no-print-directory issuer ISSUER=keycloak
	$(E2E) -p oidcproxy-e2e --test suite -- --include-ignored other_clients::
	$(CLUSTER)/releases.sh end

test-scale: ## A thousand OidcProxies on a control plane without a node: time, requests, memory, writes at rest
	$(CARGO) build --locked --quiet --release -p oidc-proxy-operator
	e2e-kind/ci/scale.sh

test-upgrade: ## A release of an older build, upgraded in place while requests go on: UPGRADE_FROM=COMMIT
	$(MAKE) --no-print-directory cluster-check images
	$(CLUSTER)/releases.sh end
	$(MAKE) --no-print-directory issuer ISSUER=keycloak
	e2e-kind/ci/upgrade.sh
	$(CLUSTER)/releases.sh end

test-recovery: ## Kills the cluster without notice, in part and as a whole, and starts it again
	e2e-kind/ci/recovery.sh

MATRIX ?= 1.31.0 1.34.4 1.37.2
test-matrix: ## The control-plane suites against other Kubernetes versions: MATRIX="1.31.0 ..."
	$(CARGO) build --locked --quiet -p oidc-proxy -p oidc-proxy-operator
	e2e-kind/ci/matrix.sh $(MATRIX)

test-all: test test-clients test-scale test-upgrade test-recovery demo ## Everything, idle streams, a thousand resources, an upgrade, a killed cluster, the demo, more time to fuzz
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),120) e2e-kind/ci/fuzz.sh

# What the images carry; another profile is sooner built.
BENCH_PROFILE ?= dist
bench: ## Micro-benchmarks, and the CPU time of a GET beside a bare forwarder
	$(CARGO) bench --locked --quiet -p oidcproxy-bench --bench authentication
	$(CARGO) build --locked --quiet --profile $(BENCH_PROFILE) -p oidc-proxy
	$(CARGO) build --locked --quiet --profile $(BENCH_PROFILE) -p oidcproxy-bench --bins
	OIDC_PROXY_BIN=$(TARGET)/$(BENCH_PROFILE)/oidc-proxy $(TARGET)/$(BENCH_PROFILE)/oidcproxy-bench
