# `make help` lists what there is. The parts live beside what they build and test.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

include e2e-kind/cluster.mk

.PHONY: help generate
help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

generate: ## Rewrites the generated files: the CustomResourceDefinition and the chart's copy of it
	cargo run --quiet -p oidcproxy-crds --bin crdgen > crds/oidcproxies.yaml.new
	mv crds/oidcproxies.yaml.new crds/oidcproxies.yaml
	mkdir -p charts/oidc-proxy-operator/files
	cp crds/oidcproxies.yaml charts/oidc-proxy-operator/files/oidcproxies.yaml
