#!/usr/bin/env bash
# Makes what is published, all of it from one release binary:
#
#   .packaging/build.sh [--wheel FILE] [FOLDER]     (target/packages)
#
#   tidecast-VERSION-py3-none-manylinux_2_28_x86_64.whl   the command for pip and uv
#   tidecast_VERSION_amd64.deb                            with unit, manual pages, completions
#   tidecast-VERSION-x86_64-linux.tar.gz                  the same files below one folder
#   tidecast-VERSION.cdx.json                             what is inside, as CycloneDX
#   image/                                                the build context of the image
#   SHA256SUMS
#
# With --wheel nothing is compiled: the binary is taken from a wheel that is there.
#
# The binary is linked by zig against glibc 2.28, the oldest that still has support somewhere
# (RHEL 8), whatever the machine has that builds it; OpenSSL and zlib are inside. Needed are
# Rust, a C compiler, make, CMake, perl, dpkg-dev and Python 3.8 with venv; maturin and zig
# come from PyPI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

glibc=2.28
target=x86_64-unknown-linux-gnu
features=openssl-vendored

die() { echo ".packaging/build.sh: $*" >&2; exit 1; }

wheel=
if [ "${1:-}" = --wheel ]; then
  [ -f "${2:-}" ] || die "no wheel \`${2:-}\`, expected --wheel FILE"
  wheel=$2
  shift 2
fi
out=${1:-${CARGO_TARGET_DIR:-target}/packages}
mkdir -p "$out"
out=$(cd "$out" && pwd)
rm -rf "$out"/*.deb "$out"/*.tar.gz "$out"/*.cdx.json "$out"/SHA256SUMS "$out/image"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Files in the archives have the time of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

build_wheel() {
  local tools=${CARGO_TARGET_DIR:-target}/packaging-tools
  [ -x "$tools/bin/maturin" ] || python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --requirement .packaging/requirements.txt
  # LIBZ_SYS_STATIC: the system's zlib would be one more library to find.
  # Compliance is checked rather than made: a library from outside is an error.
  (
    PATH=$(cd "$tools/bin" && pwd):$PATH
    export PATH LIBZ_SYS_STATIC=1
    cd .packaging
    maturin build --zig --target "$target" --compatibility "manylinux_${glibc/./_}" \
      --auditwheel check --features "$features" --out "$work/wheel"
  )
  wheel=$(echo "$work"/wheel/*.whl)
}

[ -n "$wheel" ] || build_wheel
cp "$wheel" "$work/"
wheel=$work/$(basename "$wheel")
rm -f "$out"/*.whl # an older version's, too
cp "$wheel" "$out/"
python3 -m zipfile -e "$wheel" "$work/unpacked"
binary=$(echo "$work"/unpacked/tidecast-*.data/scripts/tidecast)
chmod 755 "$binary"
version=$("$binary" --version | cut -d' ' -f2)
cp "$work"/unpacked/tidecast-*.dist-info/sboms/*.cyclonedx.json "$out/tidecast-$version.cdx.json"

# The files, below `usr` and `etc`.
root=$work/root
share=$root/usr/share
doc=$share/doc/tidecast
install -D -m 755 "$binary" "$root/usr/bin/tidecast"
"$binary" man "$share/man/man1"
mkdir -p "$share"/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
mkdir -p "$doc/examples"
"$binary" completions bash > "$share/bash-completion/completions/tidecast"
"$binary" completions zsh > "$share/zsh/vendor-completions/_tidecast"
"$binary" completions fish > "$share/fish/vendor_completions.d/tidecast.fish"
cp LICENSE NOTICE README.md CHANGELOG.md "$out/tidecast-$version.cdx.json" "$doc/"
cp -r docs "$doc/docs"
cp pipelines/*.sql "$doc/examples/"
install -D -m 644 -t "$doc/builtin-tiny" crates/moirai/models/tidecast-moirai-moe-tiny/*.md
python3 .packaging/licences.py "$target" "$features" > "$doc/THIRD-PARTY-LICENCES.txt"
install -D -m 644 config/tidecast.toml "$root/etc/tidecast/tidecast.toml"
install -d "$root/etc/tidecast/pipelines"
install -D -m 644 .packaging/tidecast.service "$root/usr/lib/systemd/system/tidecast.service"

# The tarball: programs and their files one below the other, as below /usr/local or ~/.local.
name=tidecast-$version-x86_64-linux
mkdir -p "$work/tar/$name"
cp -r "$root/usr/bin" "$root/usr/lib" "$root/usr/share" "$work/tar/$name/"
cp -r "$root/etc" "$work/tar/$name/etc"
cp LICENSE NOTICE README.md "$work/tar/$name/"
tar -C "$work/tar" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
  -c "$name" | gzip -9n > "$out/$name.tar.gz"

# The Debian package. Debian's texts are compressed, and its licence is named `copyright`.
gzip -9n "$share"/man/man1/*.1 "$doc/CHANGELOG.md" "$doc/THIRD-PARTY-LICENCES.txt"
mv "$doc/CHANGELOG.md.gz" "$doc/changelog.gz"
cat .packaging/debian/copyright NOTICE > "$doc/copyright"
rm "$doc/LICENSE" "$doc/NOTICE"
mkdir -p "$root/DEBIAN" "$work/shlibs/debian"
install -m 755 .packaging/debian/{postinst,prerm,postrm} "$root/DEBIAN/"
echo /etc/tidecast/tidecast.toml > "$root/DEBIAN/conffiles"
# What the binary links to, by the versions of its symbols.
printf 'Source: tidecast\n\nPackage: tidecast\nArchitecture: amd64\n' > "$work/shlibs/debian/control"
depends=$(cd "$work/shlibs" && dpkg-shlibdeps -O "$root/usr/bin/tidecast" | sed -n 's/^shlibs:Depends=//p')
size=$(du -sk --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@DEPENDS@/$depends/" -e "s/@SIZE@/$size/" \
  .packaging/debian/control > "$root/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/tidecast_${version}_amd64.deb" >/dev/null

# What the Dockerfile's first stage would have built.
install -D -m 755 "$binary" "$out/image/usr/local/bin/tidecast"

(cd "$out" && sha256sum -- *.whl *.deb *.tar.gz *.cdx.json > SHA256SUMS)
ls -l "$out"
