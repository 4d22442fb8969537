# shellcheck shell=bash disable=SC2034
# Paths, versions and addresses of the test cluster. Sourced by every script here; it changes nothing.

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO_DIR=$(cd "$CLUSTER_DIR/../.." && pwd)

# What is built or downloaded once, and may be shared by several checkouts.
CACHE_DIR=$(realpath -m "${CACHE_DIR:-$REPO_DIR/.cache}")
BIN_DIR=$CACHE_DIR/bin

# What lives as long as the cluster.
STATE_DIR=$REPO_DIR/target/cluster
LOG_DIR=$STATE_DIR/logs
ENV_FILE=$STATE_DIR/env
ADMIN_KUBECONFIG=$STATE_DIR/admin.kubeconfig
ISSUER_DIR=$STATE_DIR/issuer

KUBERNETES_VERSION=v1.36.3
KEYCLOAK_VERSION=26.4.0
DEBIAN_RELEASE=bookworm

# One /24 between the host (.1) and the node (.2); set CLUSTER_NET when it is taken.
CLUSTER_NET=${CLUSTER_NET:-10.95.0}
HOST_IP=$CLUSTER_NET.1
NODE_IP=$CLUSTER_NET.2
NODE_NAME=node1
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10
KIND_CLUSTER=oidcproxy

TOOLS_IMAGE=localhost/tools:1
COREDNS_IMAGE=localhost/coredns:1
PAUSE_IMAGE=registry.k8s.io/pause:3.10.1
# Another tag than this checkout's: for an older build beside it.
IMAGE_TAG=${IMAGE_TAG:-dev}
OPERATOR_IMAGE=localhost/oidc-proxy-operator:$IMAGE_TAG
PROXY_IMAGE=localhost/oidc-proxy:$IMAGE_TAG

ISSUER_CLIENT_ID=kubernetes
KEYCLOAK_PORT=8443
TEST_ISSUER_PORT=8444
