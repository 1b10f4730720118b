#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh: the Debian package from what is built (O, VERSION, MAN as the Makefile sets them): `make deb` calls it.
#
# The tree is what `make install` installs, at Debian's places, stripped and compressed. The libraries that the package
# depends on are read from the programs (dpkg-shlibdeps), in the versions that have the symbols they use. No root is
# needed. Writes $O/phoenix-gateway_VERSION_ARCH.deb and prints its name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${O:?}" "${VERSION:?}" "${MAN:?}"

name=phoenix-gateway
arch=$(dpkg --print-architecture)
work=$O/deb tree=$O/deb/tree
# What changed last is the package's date: the same tree gives the same package, byte for byte.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)}
export SOURCE_DATE_EPOCH
rm -rf "$work"
umask 022
mkdir -p "$tree/DEBIAN" "$work/debian"

O=$O DESTDIR=$tree PREFIX=/usr UNITDIR=/lib/systemd/system DOCDIR=/usr/share/doc/$name MAN=$MAN tools/install.sh install
doc=$tree/usr/share/doc/$name
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$tree"/usr/sbin/* "$tree"/usr/bin/*
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
install -m 644 tools/debian/copyright "$doc/copyright"
printf '%s (%s) stable; urgency=medium\n\n  * Version %s; README.md tells what it does.\n\n -- %s  %s\n' "$name" "$VERSION" \
	"$VERSION" "$(sed -n 's/^Maintainer: //p' tools/debian/control)" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")" |
	gzip -9n >"$doc/changelog.gz"

(cd "$tree" && find etc -type f | sed 's#^#/#' | LC_ALL=C sort) >"$tree/DEBIAN/conffiles"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
for script in postinst prerm postrm; do
	install -m 755 "tools/debian/$script" "$tree/DEBIAN/$script"
done

# dpkg-shlibdeps wants a debian/control, and the names of the programs as it sees them.
printf 'Source: %s\n\nPackage: %s\nArchitecture: any\n' "$name" "$name" >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O tree/usr/sbin/* tree/usr/bin/* 2>shlibdeps.log | sed -n 's/^shlibs:Depends=//p') ||
	{ cat "$work/shlibdeps.log" >&2; exit 1; }
size=$(du -k -s --apparent-size --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$VERSION/; s/@ARCH@/$arch/; s/@SIZE@/$size/; s/@DEPENDS@/$depends/" tools/debian/control >"$tree/DEBIAN/control"

find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$O/${name}_${VERSION}_$arch.deb" >/dev/null
rm -rf "$work"
echo "$O/${name}_${VERSION}_$arch.deb"
