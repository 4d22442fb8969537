# shellcheck shell=bash
# The npm package oidc-provider, with the program and the lock file beside this one.

OIDC_PROVIDER_DIR=$CACHE_DIR/oidc-provider

oidc_provider_prepare() {
  local source=$CLUSTER_DIR/issuers/oidc-provider
  need_packages node:nodejs npm:npm
  mkdir -p "$OIDC_PROVIDER_DIR"
  cp "$source/issuer.mjs" "$OIDC_PROVIDER_DIR/"
  cmp -s "$source/package-lock.json" "$OIDC_PROVIDER_DIR/.installed" && return
  cp "$source"/package*.json "$OIDC_PROVIDER_DIR/"
  long_step "installing oidc-provider" "$CACHE_DIR/logs/oidc-provider.log" \
    npm ci --no-audit --no-fund --ignore-scripts --prefix "$OIDC_PROVIDER_DIR"
  cp "$source/package-lock.json" "$OIDC_PROVIDER_DIR/.installed"
}
