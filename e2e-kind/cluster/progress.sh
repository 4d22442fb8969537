# shellcheck shell=bash
# How the scripts talk: one line a step on stderr, a sign of life every 15 s, one clear line when something is wrong.

say() { printf '[cluster %4ss] %s\n' "$SECONDS" "$*" >&2; }
die() { printf 'cluster: %s\n' "$*" >&2; exit 1; }

# follow LABEL LOG PID...: waits for the processes and tells every 15 s how long it took and the newest line of LOG.
follow() {
  local label=$1 log=$2 started=$SECONDS told=$SECONDS pid newest failed=0
  shift 2
  for pid in "$@"; do
    while kill -0 "$pid" 2>/dev/null; do
      sleep 0.2
      if ((SECONDS - told >= 15)); then
        told=$SECONDS
        newest=$(tail -n 1 "$log" 2>/dev/null | tr -d '\r' | cut -c1-90)
        say "$label: $((SECONDS - started)) s, at: ${newest:-(nothing yet)}"
      fi
    done
    wait "$pid" || failed=1
  done
  return "$failed"
}

# long_step LABEL LOG COMMAND...: a command whose output goes to LOG; shows its end when it fails.
long_step() {
  local label=$1 log=$2 started=$SECONDS
  shift 2
  mkdir -p "$(dirname "$log")"
  "$@" >"$log" 2>&1 &
  if follow "$label" "$log" $!; then
    say "$label: done in $((SECONDS - started)) s"
  else
    tail -n 15 "$log" | sed 's/^/    /' >&2
    die "$label failed; the whole output is in $log"
  fi
}

# wait_until SECONDS WHAT COMMAND...: polls quietly, and says what did not happen.
wait_until() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < limit)) || die "$what did not happen in time; see the logs in ${LOG_DIR:-target/cluster/logs}"
    sleep 0.2
  done
}
