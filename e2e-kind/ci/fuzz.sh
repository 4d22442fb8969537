#!/usr/bin/env bash
# Fuzzes every target for a while, or those that are named. What was found new is kept in the cache for the next run, an
# input that breaks a promise in target/fuzz. usage: FUZZ_SECONDS=n fuzz.sh [TARGET]...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source e2e-kind/cluster/settings.sh
source e2e-kind/cluster/progress.sh
source e2e-kind/cluster/packages.sh
targets=()
seconds=${FUZZ_SECONDS:-15}
mkdir -p "$CACHE_DIR/logs" target/fuzz
need_packages g++:g++
cargo build --locked --quiet -p oidcproxy-fuzz --features libfuzzer \
  --config "build.rustc-workspace-wrapper='e2e-kind/ci/fuzz/instrumented-rustc.sh'"
program=${CARGO_TARGET_DIR:-target}/debug/fuzz

fuzz() {
  local target=$1 found=$CACHE_DIR/fuzz/$1 log=target/fuzz/$1.log
  mkdir -p "$found"
  if FUZZ_TARGET=$target "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=8192 \
    -artifact_prefix="target/fuzz/$target-" "$found" "proxy/fuzz/corpus/$target" >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\) .*/\1 inputs in \2 s/p' "$log"), $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1) edges"
  else
    tail -n 40 "$log"
    echo "$target: FAILED, the input is in target/fuzz (log: $log)"
    return 1
  fi
}

(($#)) || mapfile -t targets < <(ls proxy/fuzz/corpus)
for target in "$@"; do targets+=("$target"); done
failed=0
running=()
for target in "${targets[@]}"; do
  fuzz "$target" &
  running+=($!)
  # Two at a time: that is what the machines of CI have.
  if ((${#running[@]} == 2)); then
    wait "${running[0]}" || failed=1
    running=("${running[1]}")
  fi
done
for one in "${running[@]}"; do wait "$one" || failed=1; done
exit "$failed"
