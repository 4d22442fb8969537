# shellcheck shell=bash
# Which stage runs a suite of tests/tests. Sourced by the stages; a suite that none of them would run ends them all.

# stage_of SUITE: the name decides, and what a suite starts must fit it.
stage_of() {
  case $1 in
    real_* | operator_*) echo control-plane ;;
    live_*) echo issuers ;;
    vectors | release_*) echo release ;;
    traces) echo traces ;;
    *) echo black-box ;;
  esac
}

# suites_of STAGE: sets suites to cargo's arguments. Not every folder is one: some are what several suites share.
suites_of() {
  local file name stage suite
  suites=()
  for file in tests/tests/*.rs tests/tests/*/main.rs; do
    name=${file#tests/tests/}
    name=${name%/main.rs}
    name=${name%.rs}
    stage=$(stage_of "$name")
    suite=$file
    [[ $file != */main.rs ]] || suite=${file%/main.rs}
    # By its name it would never meet the programs that it needs, or fail where they are missing.
    if [[ $stage != control-plane ]] && grep -rq 'ControlPlane::' "$suite"; then
      echo "$suite starts a control plane: its name begins with real_ or operator_" >&2
      return 1
    fi
    [[ $stage != "$1" ]] || suites+=(--test "$name")
  done
  ((${#suites[@]})) || { echo "no suite belongs to the stage $1" >&2; return 1; }
}
