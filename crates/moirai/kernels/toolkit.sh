#!/usr/bin/env bash
# Fetches NVIDIA's CUDA compiler as Python wheels from PyPI: 100 MB, no root, no
# card, no driver. Prints the path of nvcc; a second run does nothing more.
#
#   NVCC=$(crates/moirai/kernels/toolkit.sh [FOLDER]) cargo build --release --features cuda
#
# FOLDER is ~/.cache/tidecast/cuda-13.0 unless given. The kernels need a driver as
# new as the compiler: r580 for CUDA 13.0. The packages are under NVIDIA's licence
# for the CUDA toolkit; nothing of them but compiled kernels goes into the binary.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;; esac
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/tidecast/cuda-13.0}
wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
if ! [ -x "$folder/cu13/bin/nvcc" ]; then
  [ "$(uname -sm)" = 'Linux x86_64' ] || { echo 'only x86-64 Linux is supported; set NVCC' >&2; exit 1; }
  command -v python3 >/dev/null || { echo 'python3 with pip is needed; or set NVCC' >&2; exit 1; }
  echo "fetching CUDA's compiler to $folder" >&2
  part=$folder.part
  rm -rf "$part"
  mkdir -p "$part"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$part/wheels" "${wheels[@]}" >&2
  for wheel in "$part"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$part/unpacked"; done
  mkdir -p "$folder"
  rm -rf "$folder/cu13"
  mv "$part/unpacked/nvidia/cu13" "$folder/cu13"
  # zipfile drops what may be executed; nvcc's profile looks in lib64.
  chmod a+x "$folder"/cu13/bin/* "$folder"/cu13/nvvm/bin/*
  ln -sfn lib "$folder/cu13/lib64"
  rm -rf "$part"
fi
echo "$folder/cu13/bin/nvcc"
