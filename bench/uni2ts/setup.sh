#!/usr/bin/env bash
# Makes a Python environment with the PyTorch reference (uni2ts) and prints its
# interpreter. About 6 GB, most of it CUDA libraries that the CPU never uses.
#
#   bench/uni2ts/setup.sh [FOLDER]      default: ~/.cache/tidecast/uni2ts
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/tidecast/uni2ts}
if ! [ -x "$folder/bin/python" ] || ! "$folder/bin/python" -c 'import uni2ts' 2>/dev/null; then
  echo "making the reference's environment in $folder" >&2
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --no-input -r "$here/requirements.txt" >&2
fi
echo "$folder/bin/python"
