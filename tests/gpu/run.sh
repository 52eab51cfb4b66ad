#!/bin/bash
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Tests and measures the GPU's code on a machine with a GPU, nvcc, g++ and
# Python; TensorFlow is not needed. In turn:
#
#   build      cc/cuda for the GPU that is there, the core, tests and benchmark
#   test       tables on the GPU against those of the core, bit for bit; so with
#              filters, bounds, rows in bfloat16, rows in the host's memory
#   memcheck   tables again, without the large ones, under compute-sanitizer
#   racecheck  likewise, for shared memory
#   synccheck  likewise, for the lanes of a warp that wait for each other
#   bench      benchmarks/gpu
#   torch      torch's embedding on the same card, if torch is there
#
# and prints one summary; the limits add up to nine minutes. $OUT (build/gpu) gets
# the logs. CUDA_PATH names a toolkit. The exit status is 0 if all of it worked.
#
#   tests/gpu/run.sh --host
#
# goes the same way without a GPU, so that the script is tested: the host runs
# the kernels, nothing stands in for compute-sanitizer, and sizes are small. It
# shows nothing of a GPU.

set -u
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
summary=()
failed=0
host=${1:-}
case "$host" in
  "")
    folder=build/gpu
    small=
    CUDA=${CUDA_PATH:-/usr/local/cuda}
    [ -d "$CUDA/bin" ] && PATH=$CUDA/bin:$PATH
    ;;
  --host)
    folder=build/cc-none
    small=--small
    ;;
  *)
    echo "run.sh: $1 is not known; there is --host, or nothing" >&2
    exit 2
    ;;
esac
OUT=${OUT:-build/gpu}
mkdir -p "$OUT"
rm -f "$OUT"/{build,test,sanitize,memcheck,racecheck,synccheck,bench,torch}.log

# step NAME SECONDS COMMAND...: runs it, its output in $OUT/NAME.log.
step() {
  local name=$1 limit=$2 start=$SECONDS status=0 verdict=ok
  shift 2
  echo "=== $name: $*"
  timeout "$limit" "$@" > "$OUT/$name.log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    verdict="FAILED ($status)"
    [ $status -eq 124 ] && verdict="TOO LONG"
    failed=1
    tail -n 20 "$OUT/$name.log"
  fi
  summary+=("$(printf '%-10s %-13s %4d s  %s' "$name" "$verdict" \
    $((SECONDS - start)) "$(tail -n 1 "$OUT/$name.log" | cut -c1-90)")")
  return $status
}

# sanitize TOOL PROGRAM: the tests that are quick enough; each name finds some.
sanitize() {
  local tool=$1 program=$2 under=() name said
  [ "$tool" != none ] && under=(compute-sanitizer --tool "$tool" --error-exitcode 9)
  for name in EveryRule EveryInitializer Neither Frequency BadSplits There; do
    said=$("${under[@]}" "$program" "$name") || { echo "$said"; return 9; }
    echo "$said"
    if [[ "$said" == *"0 passed, 0 failed"* && "$said" != *[1-9]"0 passed"* ]]; then
      echo "no test is named $name"
      return 8
    fi
  done
}
# every_test FOLDER
every_test() {
  local test
  for test in "$1"/device_*_test; do
    echo "$test"
    "$test" || return 1
  done
}
export -f sanitize every_test

skip() {
  summary+=("$(printf '%-10s not run: %s' "$1" "$2")")
}

if step build 150 "$PYTHON" tests/gpu/build.py $host; then
  step test 80 bash -c "every_test $folder"
  if [ -n "$host" ]; then
    step sanitize 60 bash -c "sanitize none $folder/device_table_test"
  else
    step memcheck 60 bash -c "sanitize memcheck $folder/device_table_test"
    step racecheck 40 bash -c "sanitize racecheck $folder/device_table_test"
    step synccheck 30 bash -c "sanitize synccheck $folder/device_table_test"
  fi
  step bench 150 "$folder/table_bench" $small
  if [ -n "$host" ]; then
    skip torch "it needs a GPU"
  elif "$PYTHON" -c "import torch" 2> /dev/null; then
    step torch 30 "$PYTHON" benchmarks/gpu/torch_peer.py
  else
    skip torch "torch is not installed"
  fi
fi

echo
if [ -n "$host" ]; then
  echo "NO FIGURE IS A GPU'S: the host ran the kernels, on small tables"
else
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -n 1
fi
date -u +%Y-%m-%d
echo
for log in bench torch; do
  [ -f "$OUT/$log.log" ] && cat "$OUT/$log.log"
done
echo
printf '%s\n' "${summary[@]}"
exit $failed
