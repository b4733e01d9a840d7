#!/usr/bin/env bash
# Packs pleat-run with the shared libraries it needs into a tarball, for machines where nothing is installed.
# usage: dist.sh PLEAT_RUN TARBALL     (PLEAT_RUN is stripped, with rpath $ORIGIN; the folder inside is named as the tarball)
set -euo pipefail

run=${1:?usage: dist.sh PLEAT_RUN TARBALL} tarball=${2:?}
name=$(basename "$tarball" .tar.gz)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$name
install -D -m 755 -t "$folder" "$run"

# Everything that the loader loads, libraries of libraries included: "libgomp.so.1 => /lib/.../libgomp.so.1 (0x...)". The C
# library and its loader only work with each other, so they have a folder of their own, for systems with an older one or none.
interpreter=$(readelf -l "$run" | sed -n 's/.*program interpreter: \(.*\)]/\1/p')
install -D -m 755 -t "$folder/libc" "$interpreter"
ldd "$run" | awk '$2 == "=>" { print $1, $3 }' | while read -r library file; do
  case $library in
    libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.*) install -m 644 "$file" "$folder/libc/$library" ;;
    *) install -m 644 "$file" "$folder/$library" ;;
  esac
  # The package it belongs to, and the terms under which it may be passed on.
  package=$(dpkg -S "$file" "$(realpath "$file")" 2>/dev/null | head -1 | cut -d: -f1) || true
  [ -z "$package" ] || install -D -m 644 "/usr/share/doc/$package/copyright" "$folder/licenses/$package"
done
install -m 644 LICENSE "$folder/licenses/pleat"

cat >"$folder/README" <<END
pleat-run runs networks that Pleat trained or folded; see ./pleat-run --help.

The libraries beside it are those it was built with. The system must have a C library, glibc $(ldd --version | sed -n '1s/.* //p') or later, and
/proc, through which the program finds the libraries. Where one of these is missing, or glibc is older, start it like this:

  D=\$PWD    # this folder's full path
  \$D/libc/$(basename "$interpreter") --library-path \$D/libc:\$D \$D/pleat-run --help

licenses/ holds the terms under which each part may be passed on.
END
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -czf "$tarball.part" "$name"
mv "$tarball.part" "$tarball"
ls -l "$tarball" | awk '{ printf "%s: %.1f MB\n", $NF, $5 / 1e6 }'
