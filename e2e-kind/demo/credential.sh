#!/usr/bin/env bash
# A credential plugin for kubectl: an id_token by the test issuer's password grant. usage: credential.sh USER
# Real users log in with a browser: see "Users" in docs/install.md.
set -euo pipefail
token=$(ISSUER=test "$(dirname "${BASH_SOURCE[0]}")/../cluster/issuer.sh" token "$1")
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}\n' "$token"
