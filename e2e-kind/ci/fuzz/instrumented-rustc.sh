#!/bin/sh
# Compiles the workspace's crates, and only them, with the counters that libFuzzer is guided by. All of these are stable
# options; dependencies stay those of every other build.
exec "$@" -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
  -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
  -C llvm-args=-sanitizer-coverage-trace-compares -C codegen-units=1 -C opt-level=1
