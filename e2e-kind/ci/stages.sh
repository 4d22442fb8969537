#!/usr/bin/env bash
# Runs make targets one after the other and says at the end what each took. usage: stages.sh TARGET...
# The node's programs are built from the start: their downloads and links use what rustc leaves idle.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/cluster/settings.sh

mkdir -p "$CACHE_DIR/logs"
setsid e2e-kind/cluster/build.sh all >"$CACHE_DIR/logs/prebuild.log" 2>&1 &
prebuild=$!
# A background process does not hear Ctrl-C.
trap 'kill "$prebuild" 2>/dev/null; exit 130' INT TERM

summary=()
failed=()
for stage in "$@"; do
  started=$SECONDS
  echo "== $stage"
  if make --no-print-directory "$stage"; then
    summary+=("$stage: $((SECONDS - started)) s")
  else
    summary+=("$stage: FAILED after $((SECONDS - started)) s")
    failed+=("$stage")
  fi
done
wait || true
echo "== stages"
printf '%s\n' "${summary[@]}"
echo "$((${#summary[@]} - ${#failed[@]})) passed, ${#failed[@]} failed"
((${#failed[@]} == 0))
