#!/bin/bash
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Tests and measures the GPU's code on a machine with a GPU, nvcc, g++ and
# Python; TensorFlow is not needed. In turn:
#
#   build      cc/cuda for the GPU that is there, the core, tests and benchmark
#   test       tables on the GPU against those of the core, bit for bit
#   admission, eviction   filters, rules and bounds likewise
#   tiers      the first of tables whose rows are in the host's memory
#   memcheck   the first again, without the large ones, under compute-sanitizer
#   racecheck  likewise
#   bench      benchmarks/gpu
#   torch      torch's embedding on the same card, if torch is there
#
# and prints one summary; the limits add up to nine minutes. $OUT (build/gpu) gets
# the logs. CUDA_PATH names a toolkit. The exit status is 0 if all of it worked.

set -u
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/gpu}
mkdir -p "$OUT"
PYTHON=${PYTHON:-python3}
CUDA=${CUDA_PATH:-/usr/local/cuda}
[ -d "$CUDA/bin" ] && PATH=$CUDA/bin:$PATH
summary=()
failed=0

# step NAME SECONDS COMMAND...: runs it, its output in $OUT/NAME.log.
step() {
  local name=$1 limit=$2 start=$SECONDS status=0 verdict=ok
  shift 2
  echo "=== $name: $*"
  timeout "$limit" "$@" > "$OUT/$name.log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    verdict="FAILED ($status)"
    failed=1
    tail -n 20 "$OUT/$name.log"
  fi
  summary+=("$(printf '%-10s %-13s %4d s  %s' "$name" "$verdict" \
    $((SECONDS - start)) "$(tail -n 1 "$OUT/$name.log" | cut -c1-90)")")
}

# A test that takes long under the sanitizer is left out there.
sanitize() {
  local tool=$1
  shift
  for test in EveryRule EveryInitializer Neither Frequency BadSplits There; do
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$@" "$test" || return 9
  done
}
export -f sanitize

step build 150 "$PYTHON" tests/gpu/build.py
step test 45 build/gpu/device_table_test
step admission 30 build/gpu/device_admission_test
step eviction 30 build/gpu/device_eviction_test
step tiers 45 build/gpu/device_tier_test
step memcheck 70 bash -c "sanitize memcheck build/gpu/device_table_test"
step racecheck 40 bash -c "sanitize racecheck build/gpu/device_table_test"
step bench 100 build/gpu/table_bench
if "$PYTHON" -c "import torch" 2> /dev/null; then
  step torch 30 "$PYTHON" benchmarks/gpu/torch_peer.py
else
  summary+=("torch      not run: torch is not installed")
fi

echo
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -n 1
date -u +%Y-%m-%d
echo
cat "$OUT/bench.log"
[ -f "$OUT/torch.log" ] && cat "$OUT/torch.log"
echo
printf '%s\n' "${summary[@]}"
exit $failed
