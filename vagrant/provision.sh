#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# provision.sh: sets the machine up with the same script that `make check` and `make demo` use, so that there is one list of
# packages (tools/packages.txt), and says whether this kernel has what the NIC path needs. Run by `vagrant up`; a second run
# does nothing. Works on any Debian machine: its project is the folder above this one, or /phoenix.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=/phoenix
[[ -e $project/tools/setup.sh ]] || project=$here/..

"$project/tools/setup.sh" build demo test

release=$(uname -r)
if printf '6.9\n%s\n' "$release" | sort -CV && [[ -e /sys/kernel/btf/vmlinux ]]; then
	echo "Linux $release: the NIC path can be used"
else
	echo "Linux $release: too old for the NIC path (6.9 with BTF); everything else works"
fi
echo "now: cd $project && make check   (as root)"
