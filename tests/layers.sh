#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# layers: who may include whom. Facts go up as data, decisions come down as calls:
#
#   base <- io, http <- dataplane, gateway, judge, store, pipeline <- control <- admin <- main
#
# The tables below are the rule; a file that includes upward or sideways is named with its line, and the exit
# status is 1. One folder sees liburing, one sees libbpf, the judge is pure.

cd "$(dirname "$0")/.." || exit 2

# folder of the file | what it may include below userspace/ ("." is a file in userspace/ itself: config.h)
# "config" are the files in userspace/ but main.c: they know the judge's JSON and pointers.
folders='
base      base
io        base io
http      base http
judge     base judge
config    base judge .
dataplane base io http dataplane .
gateway   base io http gateway .
store     base io http store .
pipeline  base judge pipeline .
control   base io http dataplane gateway judge store pipeline control .
admin     base io http control admin .
trafficgen base http judge trafficgen .
ctl       base http dataplane judge trafficgen pipeline ctl .
main      base io http dataplane gateway judge store pipeline control admin .
'
# header of a library | the folders that may see it
libraries='
liburing.h   io tests
bpf/         dataplane tests
xdp/         dataplane
yaml.h       config pipeline tests
hiredis/     store tests tools
zlib.h       judge tests
curl/        pipeline control ctl tools tests
'

find userspace tools tests include bpf -name '*.[ch]' 2>/dev/null | sort | xargs awk -v folders="$folders" -v libraries="$libraries" '
BEGIN {
	count = split(folders, lines, "\n")
	for (i = 1; i <= count; i++)
		if (split(lines[i], words, " "))
			may[words[1]] = " " substr(lines[i], length(words[1]) + 1) " "
	count = split(libraries, lines, "\n")
	for (i = 1; i <= count; i++)
		if (split(lines[i], words, " "))
			owners[words[1]] = " " substr(lines[i], length(words[1]) + 1) " "
}
function complain(why) {
	print FILENAME ":" FNR ": " why
	bad = 1
}
FNR == 1 {
	files++
	parts = split(FILENAME, path, "/")
	folder = path[1] == "userspace" ? (parts > 2 ? path[2] : path[2] == "main.c" ? "main" : "config") : path[1]
	if (path[1] == "userspace" && !(folder in may))
		complain("the folder " folder " is not in the table of tests/layers.sh")
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
	match($0, /[<"][^>"]*[>"]/)
	system_header = substr($0, RSTART, 1) == "<"
	target = substr($0, RSTART + 1, RLENGTH - 2)
	if (system_header) {
		for (library in owners)
			if (index(target, library) == 1 && index(owners[library], " " folder " ") == 0 && path[1] != "bpf" && FILENAME !~ /\.bpf\.c$/)
				complain("<" target "> belongs to:" owners[library])
		next
	}
	layer = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : "."
	if (path[1] == "userspace") {
		if (layer == "..")
			complain("\"" target "\": write the path below userspace/")
		else if (index(may[folder], " " layer " ") == 0)
			complain("\"" target "\": " folder " may include only:" may[folder])
	} else if ((path[1] == "include" || path[1] == "bpf") && layer in may) {
		complain("\"" target "\": what the kernel compiles sees nothing of userspace/")
	}
}
END {
	if (!bad)
		print "layers: " files " files keep to the table"
	exit bad
}' || exit 1
