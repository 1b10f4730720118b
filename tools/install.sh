#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# install.sh install|uninstall: what `make install` and `make uninstall` do. One table says what lies where, so that
# uninstalling cannot forget what installing brought. Reads from the environment O, DESTDIR, PREFIX, and, where a
# distribution has places of its own, SYSCONFDIR, UNITDIR, DOCDIR; MAN are the manual pages.
#
# A configuration that is there is never touched; uninstalling removes it only when it is the sample still. State and logs
# (/var/lib/phoenix, /var/log/phoenix) and the user "phoenix" are the administrator's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

O=${O:-build} DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local}
SYSCONFDIR=${SYSCONFDIR:-/etc} UNITDIR=${UNITDIR:-$PREFIX/lib/systemd/system} DOCDIR=${DOCDIR:-$PREFIX/share/doc/phoenix}
MAN=${MAN:-}
CONFIG=$SYSCONFDIR/phoenix/phoenix.json

# mode  folder  file...   "%" before a file: @sbindir@ and @libdir@ in it are filled in
table() {
	cat <<-EOT
		755 $PREFIX/sbin $O/phoenixd
		755 $PREFIX/bin $O/phoenixctl $O/phoenix-traffic
		755 $PREFIX/lib/phoenix tools/systemd/reload
		644 $UNITDIR %tools/systemd/phoenixd.service
		644 $PREFIX/lib/sysusers.d/phoenix.conf tools/systemd/sysusers.conf
		644 $PREFIX/lib/tmpfiles.d/phoenix.conf tools/systemd/tmpfiles.conf
		644 $PREFIX/share/bash-completion/completions/phoenixctl $O/completion/bash
		644 $PREFIX/share/zsh/vendor-completions/_phoenixctl $O/completion/zsh
		644 $PREFIX/share/fish/vendor_completions.d/phoenixctl.fish $O/completion/fish
		644 $DOCDIR README.md
		644 $DOCDIR/examples $(echo tools/config/*.json tools/config/*.yaml)
	EOT
	[[ $DOCDIR == /usr/share/doc/phoenix-gateway ]] || echo "644 $DOCDIR LICENSE" # a Debian package has a copyright file
	local folder page
	for page in $MAN; do
		echo "644 $PREFIX/share/man/man${page##*.} $page"
	done
	for folder in grafana prometheus logrotate.d; do
		[[ ! -d tools/$folder ]] || case $folder in
		logrotate.d) echo "644 $SYSCONFDIR/logrotate.d/phoenix tools/$folder/phoenix" ;;
		*) echo "644 $PREFIX/share/phoenix/$folder $(find "tools/$folder" -type f ! -name README.md ! -name '*.test.*' | sort | paste -sd' ')" ;;
		esac
	done
}

# Calls `each MODE TARGET SOURCE`. A folder whose last part has a dot or belongs to one file is that file's name.
rows() { # FUNCTION
	local mode place files file
	while read -r mode place files; do
		for file in $files; do
			case $place in
			*.conf | *.fish | */phoenixctl | */_phoenixctl | */logrotate.d/phoenix) "$1" "$mode" "$DESTDIR$place" "$file" ;;
			*) "$1" "$mode" "$DESTDIR$place/$(basename "${file#%}")" "$file" ;;
			esac
		done
	done < <(table)
}

put() { # MODE TARGET SOURCE
	if [[ $3 == %* ]]; then
		install -d "$(dirname "$2")"
		sed -e "s#@sbindir@#$PREFIX/sbin#g" -e "s#@libdir@#$PREFIX/lib#g" "${3#%}" >"$2"
		chmod "$1" "$2"
	else
		install -D -m "$1" "$3" "$2"
	fi
}

take() { # MODE TARGET SOURCE
	rm -f "$2"
	folders+=("$(dirname "$2")")
}

case ${1:-} in
install)
	rows put
	[[ -e $DESTDIR$CONFIG ]] || install -D -m 644 tools/config/service.json "$DESTDIR$CONFIG"
	;;
uninstall)
	folders=("$(dirname "$DESTDIR$CONFIG")")
	if cmp -s tools/config/service.json "$DESTDIR$CONFIG"; then
		rm -f "$DESTDIR$CONFIG"
	elif [[ -e $DESTDIR$CONFIG ]]; then
		echo "uninstall: $DESTDIR$CONFIG was changed and stays" >&2
	fi
	rows take
	# Empty folders that are ours; below a DESTDIR all of them are.
	for folder in "${folders[@]}"; do
		while [[ $folder == "$DESTDIR"/* && ($DESTDIR != "" || $folder == */phoenix*) ]] && rmdir "$folder" 2>/dev/null; do
			folder=$(dirname "$folder")
		done
	done
	;;
*)
	echo "usage: tools/install.sh install|uninstall (its first lines say what it reads)" >&2
	exit 2
	;;
esac
