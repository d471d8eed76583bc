#!/usr/bin/env bash
# The model beside the PyTorch reference: the same random checkpoint of the
# published small shape, the same series, the same number of threads, one run.
#
#   bench/model/run.sh [--quick] [--threads N] [--work FOLDER]
#   bench/model/run.sh --device cuda [--work FOLDER]        on a card: cards.py
#
# Prints a table and, as its last line, JSON with every ratio. The whole takes
# about half an hour, nearly all of it the reference's; --quick leaves out its
# long points. Needs cargo, python3 and, the first time, 6 GB for PyTorch.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${XDG_CACHE_HOME:-$HOME/.cache}/tidecast
threads=$(nproc)
quick=() device=cpu
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick); shift ;;
    --threads) threads=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit ;;
    *) echo "unknown argument \`$1\`; see --help" >&2; exit 2 ;;
  esac
done
mkdir -p "$work"
python=$("$root/bench/uni2ts/setup.sh" "$work/uni2ts")
if ! [ -f "$work/random-small/model.safetensors" ]; then
  echo "making a random checkpoint of the small shape" >&2
  "$python" "$root/bench/uni2ts/make_checkpoint.py" "$work/random-small"
fi
echo "building" >&2
features=()
if [ "$device" != cpu ]; then
  NVCC=${NVCC:-$(command -v nvcc || "$root/crates/moirai/kernels/toolkit.sh")}
  export NVCC
  features=(--features cuda)
fi
cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p tidecast-moirai --example bench "${features[@]}"
target=$(cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps |
  "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
if [ "$device" != cpu ]; then
  exec "$python" "$here/cards.py" --ours "$target/release/examples/bench" \
    --model "$work/random-small" --work "$work" --device "$device"
fi
exec "$python" "$here/compare.py" --ours "$target/release/examples/bench" \
  --reference "$root/bench/uni2ts/reference.py" --model "$work/random-small" \
  --series "$work" --threads "$threads" "${quick[@]}"
