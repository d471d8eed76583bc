#!/usr/bin/env python3
"""Prints the licences of everything that is linked into the binary, texts included.

What is linked is what `cargo tree` shows without build and development dependencies;
the texts are those that lie in the crates, those of the C libraries inside them too.
"""

import json
import pathlib
import re
import subprocess
import sys

TEXT = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)
# A crate of C sources has them a folder or two down, beside much else.
DEPTH = 2


def cargo(*arguments):
    return subprocess.run(
        ["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def linked(target, features):
    """Returns (name, version) of each crate in the binary."""
    lines = cargo(
        "tree", "--locked", "--package", "tidecast-cli", "--edges", "normal", "--prefix", "none",
        "--target", target, "--features", features, "--format", "{p}",
    )  # fmt: skip
    found = {tuple(line.split()[:2]) for line in lines.splitlines() if line.strip()}
    return {(name, version.lstrip("v")) for name, version in found}


def texts(folder):
    """Returns the licence files of a crate, its C sources' included."""
    for depth in range(DEPTH + 1):
        for path in sorted(folder.glob("*/" * depth + "*")):
            if path.is_file() and TEXT.match(path.name) and path.suffix in ("", ".txt", ".md"):
                yield path


def main():
    target, features = sys.argv[1:3]
    metadata = cargo(
        "metadata", "--locked", "--format-version", "1", "--filter-platform", target,
        "--manifest-path", "crates/cli/Cargo.toml", "--features", features,
    )  # fmt: skip
    packages = json.loads(metadata)["packages"]
    in_binary = linked(target, features)
    # The sources of OpenSSL are a build dependency, and end in the binary.
    sources = {"openssl-src"}
    chosen = [
        package
        for package in packages
        if package["source"]  # ours have none
        and ((package["name"], package["version"]) in in_binary or package["name"] in sources)
    ]
    seen = {}
    for package in sorted(chosen, key=lambda package: (package["name"], package["version"])):
        folder = pathlib.Path(package["manifest_path"]).parent
        print("=" * 80)
        print(f"{package['name']} {package['version']}: {package['license'] or 'see the text'}")
        if package["repository"]:
            print(package["repository"])
        for path in texts(folder):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            of = f"{package['name']} {package['version']}, {path.relative_to(folder)}"
            if text in seen:
                print(f"\n{path.relative_to(folder)}: the text of {seen[text]}")
            else:
                seen[text] = of
                print(f"\n--- {path.relative_to(folder)}\n{text}")
        print()


if __name__ == "__main__":
    main()
