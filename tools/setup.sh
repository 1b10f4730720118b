#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh [build] [demo] [test]: installs what is missing for these groups of tools/packages.txt, once.
#
# dpkg is asked first; apt-get runs only when something is missing, so a second run does no package work,
# needs no network and prints nothing. Services that start themselves on installation (nginx, haproxy) are
# kept from doing so by a policy-rc.d that exists for as long as apt-get runs; one that was there before is
# left alone.
#
# The group test also takes the two npm packages of tests/browser (exact versions, from its lock file): only for
# the tests of the web page, which say so and fail when the packages are not there.
#
# Exit: 0 everything is there · 1 something is missing and cannot be installed from here · 2 usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/packages.txt
policy=/usr/sbin/policy-rc.d
policy_mark="# written by Phoenix's tools/setup.sh, removed when it ends"
# An ordinary user's PATH lacks the folders where Debian puts nginx and haproxy.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }

usage() {
	say "usage: tools/setup.sh [GROUP...] where GROUP is one of:" \
		"$(awk '!/^#/ && NF {print $1}' "$list" | sort -u | paste -sd' ')"
	exit 2
}

installed() { # PACKAGE
	[[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ?i* ]]
}

present() { # PACKAGE|EQUAL... [UNLESS]
	local name
	case ${2:-} in
	/*) [[ -e $2 ]]; return ;;
	?*) command -v "$2" >/dev/null; return ;;
	esac
	for name in ${1//|/ }; do
		if installed "$name"; then
			return 0
		fi
	done
	return 1
}

# Of equal packages the first that this release has; without package lists, the first.
obtainable() { # PACKAGE|EQUAL...
	local name
	if [[ $1 == *\|* ]]; then
		for name in ${1//|/ }; do
			if [[ $(apt-cache policy "$name" 2>/dev/null) =~ Candidate:\ [0-9] ]]; then
				printf '%s\n' "$name"
				return
			fi
		done
	fi
	printf '%s\n' "${1%%|*}"
}

# Prints the packages of the groups asked for; with "missing" only those that are not there.
packages() { # all|missing GROUP...
	local which=$1 group package unless
	shift
	while read -r group package unless; do
		[[ -z $group || $group == \#* || " $* " != *" $group "* ]] && continue
		if [[ $which == all ]] || ! present "$package" "$unless"; then
			obtainable "$package"
		fi
	done <"$list" | sort -u
}

remove_policy() {
	if grep -qsF "$policy_mark" "$policy"; then
		rm -f "$policy"
	fi
}

block_service_starts() {
	if [[ -e $policy || -L $policy ]]; then
		grep -qsF "$policy_mark" "$policy" || return 0 # somebody else's: it stays
	fi
	trap remove_policy EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" >"$policy"
	chmod 755 "$policy"
}

# Says what it could not do and goes on: a machine without npm's registry can still run everything else.
npm_packages() {
	local folder=$here/../tests/browser
	local mark=$folder/node_modules/.installed-from
	cmp -s "$folder/package-lock.json" "$mark" && return 0
	say "installing tests/browser's packages from npm: $(grep -oE '"(axe|playwright)-core": "[^"]*"' \
		"$folder/package.json" | tr -d '"' | paste -sd, | sed 's/,/, /g')"
	if ! npm ci --prefix "$folder" --prefer-offline --no-audit --no-fund --ignore-scripts \
		--loglevel=error --fetch-retry-mintimeout=2000 --fetch-retry-maxtimeout=10000; then
		say "npm could not install them; its message is above. The tests of the web page (browser/*) will" \
			"fail until this has worked: npm ci --prefix tests/browser"
		return 0
	fi
	cp "$folder/package-lock.json" "$mark"
}

debian_packages() { # GROUP...
	local -a missing
	local line
	mapfile -t missing < <(packages missing "$@")
	if [[ ${#missing[@]} -eq 0 ]]; then
		remove_policy # a killed run may have left it, and services would never start again
		return 0
	fi

	line="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
	if [[ $(id -u) -ne 0 ]]; then
		say "${#missing[@]} package(s) missing and this user is not root. Run as root:"
		printf '  %s\n' "$line" >&2
		exit 1
	fi
	say "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	block_service_starts
	# One broken third-party source must not stop what the others can deliver.
	apt-get update -q || say "apt-get update failed; trying with the package lists that are here"
	mapfile -t missing < <(packages missing "$@") # the lists are here now: which of equal ones there is
	if ! apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}"; then
		say "apt-get could not install: ${missing[*]}. Its message is above; mend that, or run by hand:"
		printf '  %s\n' "$line" >&2
		exit 1
	fi
	mapfile -t missing < <(packages missing "$@")
	if [[ ${#missing[@]} -gt 0 ]]; then
		say "apt-get reported success, but still missing: ${missing[*]} (tools/packages.txt says how" \
			"each is recognised)"
		exit 1
	fi
}

main() {
	local -a groups=("$@")
	local group
	[[ $# -gt 0 ]] || groups=(build)
	for group in "${groups[@]}"; do
		if ! awk -v g="$group" '$1 == g {found = 1} END {exit !found}' "$list"; then
			say "there is no group '$group'"
			usage
		fi
	done
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		say "this is not a Debian system (no dpkg-query, no apt-get), so nothing was checked or" \
			"installed. Install what these Debian packages hold, then run the build itself (make):"
		packages all "${groups[@]}" | paste -sd' ' >&2
		exit 1
	fi
	debian_packages "${groups[@]}"
	if [[ " ${groups[*]} " == *" test "* ]]; then
		npm_packages
	fi
}

main "$@"
