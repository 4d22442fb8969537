# The test cluster, its issuers and the product's images; see e2e-kind/cluster/README.md.
CLUSTER := e2e-kind/cluster
# Login shells set USER for everybody, so only one that was given to make counts.
TOKEN_USER := $(if $(findstring command line,$(origin USER)),$(USER),alice)

.PHONY: cluster cluster-down cluster-check issuer issuer-down token images clients other-clients
cluster: ## Brings up the test cluster (kind, or a node without Docker)
	@$(CLUSTER)/cluster.sh up

cluster-down: ## Ends the test cluster and its issuers
	@$(CLUSTER)/issuer.sh down
	@$(CLUSTER)/cluster.sh down

cluster-check: cluster ## Checks that the cluster can do what the tests need
	@$(CLUSTER)/check.sh

issuer: cluster ## Starts an OIDC issuer: ISSUER=test (default) or keycloak
	@ISSUER=$(ISSUER) $(CLUSTER)/issuer.sh up

issuer-down: ## Ends the issuer that ISSUER names, or both
	@ISSUER=$(ISSUER) $(CLUSTER)/issuer.sh down

token: ## Prints an id_token: make -s token USER=alice
	@ISSUER=$(ISSUER) $(CLUSTER)/issuer.sh token $(TOKEN_USER)

images: cluster ## Builds both images and loads them into the cluster
	@$(CLUSTER)/images.sh

clients: ## Installs kubectl 1.36 and 1.28, Helm 4 and 3 into the cache
	@$(CLUSTER)/clients.sh

other-clients: ## Installs client libraries of three languages into the cache
	@$(CLUSTER)/other-clients.sh
