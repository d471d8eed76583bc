#!/usr/bin/env bash
# Installs each artefact where nothing else of ours is, and runs it there:
#
#   .packaging/try.sh [FOLDER]      (target/packages, filled by .packaging/build.sh)
#
#   package   dpkg installs it in an empty Debian root; demo, manual pages, unit; removal and purge
#   wheel     pip installs it in a fresh environment of each Python that is named in PYTHONS; demo
#   tarball   unpacked in an empty folder; checksums, demo, SBOM
#   binary    no symbol of a glibc newer than 2.28, no library beside glibc's
#
# Needs root (for chroot), debootstrap, binutils, systemd's tools and man-db. ROOT names an empty Debian root that is
# kept and used again, made by `debootstrap --variant=minbase bookworm ROOT`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
packages=$(realpath "${1:-${CARGO_TARGET_DIR:-$here/../target}/packages}")
newest_glibc=2.28
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() { echo ".packaging/try.sh: $*" >&2; exit 1; }
done_with() { printf 'ok       %s\n' "$*"; }

wheel=$(echo "$packages"/*.whl)
package=$(echo "$packages"/*.deb)
tarball=$(echo "$packages"/*.tar.gz)
for file in "$wheel" "$package" "$tarball"; do
  [ -f "$file" ] || die "no \`$file\`, expected what .packaging/build.sh makes"
done
version=$(basename "$package" | cut -d_ -f2)

# What a command prints has to end in a summary with forecasts.
demo() { # NAME COMMAND…
  local name=$1 out
  shift
  [ "$("$@" --version)" = "tidecast $version" ] || die "$name: not version $version"
  out=$("$@" demo --for 10s --json 2>"$work/said" | tail -n 1) || { cat "$work/said"; die "$name: no demo"; }
  python3 -c '
import json, sys
summary = json.loads(sys.argv[1])
assert summary["forecasts"] > 0, summary
print("         forecasts:", summary["forecasts"])' "$out" || die "$name: no forecasts in \`$out\`"
  done_with "$name runs"
}

(cd "$packages" && sha256sum --quiet --check SHA256SUMS) || die "checksums differ"
done_with "checksums"

# The tarball.
tar -C "$work" -xzf "$tarball"
unpacked=$(echo "$work"/tidecast-*)
demo tarball env -i HOME="$work/home" "$unpacked/bin/tidecast"
python3 - "$packages"/*.cdx.json <<'P'
import json, sys
bill = json.load(open(sys.argv[1]))
names = {component["name"] for component in bill["components"]}
missing = {"rdkafka-sys", "arrow", "candle-core", "tokio"} - names
assert bill["bomFormat"] == "CycloneDX" and not missing, missing
print(f"         {len(bill['components'])} components")
P
done_with "bill of materials"

# The binary.
binary=$unpacked/bin/tidecast
symbols=$(objdump -T "$binary")
newest=$(grep -o 'GLIBC_[0-9.]*' <<<"$symbols" | cut -d_ -f2 | sort -V | tail -n 1)
[ "$(printf '%s\n' "$newest" "$newest_glibc" | sort -V | tail -n 1)" = "$newest_glibc" ] \
  || die "the binary needs glibc $newest, expected $newest_glibc or older"
foreign=$(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }' \
  | grep -vE '^(libc|libm|libdl|libpthread|librt|libutil|ld-linux-x86-64)\.so' || true)
[ -z "$foreign" ] || die "the binary needs $foreign, expected glibc alone"
done_with "glibc $newest, $(stat -c %s "$binary") bytes"

# The wheel.
for python in ${PYTHONS:-python3}; do
  environment=$work/environment-$(basename "$(dirname "$(dirname "$python")")")-$(basename "$python")
  "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
  demo "wheel with $("$python" --version 2>&1)" env -i HOME="$work/home" "$environment/bin/tidecast"
  rm -rf "$environment"
done

# The package.
root=${ROOT:-$work/root}
[ -e "$root/usr/bin/dpkg" ] || debootstrap --variant=minbase bookworm "$root" >/dev/null
in_root() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root chroot "$root" "$@"; }
cp "$package" "$root/tmp/tidecast.deb"
in_root dpkg --install /tmp/tidecast.deb >/dev/null
demo package in_root tidecast
in_root tidecast check /usr/share/doc/tidecast/examples/demo.sql >/dev/null
in_root env TIDECAST_CONFIG=/etc/tidecast/tidecast.toml tidecast config >/dev/null
# minbase has no man: the pages are read from outside.
for page in tidecast tidecast-run tidecast-model-bench; do
  man --warnings -E UTF-8 -l "$root/usr/share/man/man1/$page.1.gz" 2>"$work/warnings" | grep -q NAME \
    || die "no manual page $page"
  [ ! -s "$work/warnings" ] || die "manual page $page: $(cat "$work/warnings")"
done
done_with "manual pages: $(find "$root/usr/share/man/man1" -name 'tidecast*' | wc -l)"
unit=$root/usr/lib/systemd/system/tidecast.service
SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --root="$root" --recursive-errors=no --man=no tidecast.service >"$work/verify" 2>&1 \
  || die "the unit: $(cat "$work/verify")"
exposure=$(systemd-analyze security --offline=true --threshold=20 "$unit" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p') \
  || die "the unit is exposed by more than 2.0"
done_with "unit, exposure $exposure"
in_root dpkg --remove tidecast >/dev/null
[ -e "$root/etc/tidecast/tidecast.toml" ] || die "removal took the configuration"
in_root dpkg --purge tidecast >/dev/null 2>&1
left=$(find "$root" -xdev -path "$root/proc" -prune -o -name '*tidecast*' -print | grep -v '/tmp/tidecast.deb$' | grep -v '/var/log/' || true)
[ -z "$left" ] || die "a purge leaves $left"
rm "$root/tmp/tidecast.deb"
done_with "removal and purge"
