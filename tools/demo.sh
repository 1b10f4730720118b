#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh: a whole migration on this machine, start to end, in about half a minute. `make demo` calls it.
#
#   phoenix-traffic ──▶ phoenixd ──▶ bank-legacy     (every request)
#                           └──────▶ bank-modern     (a copy of each, then more and more of the real ones)
#
# Everything is started on free loopback ports with its files in a folder of its own, and ended by its own
# pid, whatever happens. Nothing outside that folder is touched.
#
#   O=build        where the programs were built
#   FAULT=KIND     wrong-value, wrong-status, slow or crash: the modern service breaks on the way
#   KEEP=1         leaves traffic, gateway and web page up at the end, until Ctrl-C
#   XDP=1          the NIC path: not part of this version
#
# Exit: 0 the end that was to be expected was reached ("Migration Complete" with no failed request; with
# FAULT "Rollback triggered" and weight 0) · 1 it was not · 2 usage.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

build=${O:-build}
fault=${FAULT:-none}
routes=(transfer-funds account account-transfers)
rate=150          # requests a second, a third of them for each route: a step takes two to three seconds
fault_after=1500  # requests: by then a few steps have been taken
deadline=3m

folder=
keep_folder=
declare -A pids=()

say() { printf '%s\n' "$*"; }
fail() {
	printf 'demo: %s\n' "$*" >&2
	keep_folder=1
	exit 1
}
usage() {
	printf 'demo: %s\n' "$*" >&2
	exit 2
}

# ---- processes ----------------------------------------------------------------------------------------

start() { # NAME COMMAND...: stdout in NAME.out, stderr in NAME.log
	local name=$1
	shift
	: >"$folder/$name.out" # there before the program is: it is read at once
	"$@" >"$folder/$name.out" 2>"$folder/$name.log" </dev/null &
	pids[$name]=$!
}

alive() { kill -0 "${pids[$1]}" 2>/dev/null; }

stop() { # NAME: SIGTERM, SIGKILL after five seconds
	local pid=${pids[$1]:-} i
	[[ -n $pid ]] || return 0
	unset "pids[$1]"
	kill -TERM "$pid" 2>/dev/null
	for ((i = 0; i < 50; i++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

clean_up() {
	local name
	trap '' INT TERM HUP
	for name in watch traffic phoenixd bank-legacy bank-modern; do
		stop "$name"
	done
	if [[ -n $folder && -z $keep_folder ]]; then
		rm -rf "$folder"
	elif [[ -n $folder ]]; then
		printf 'demo: what the programs said is in %s\n' "$folder" >&2
	fi
}

wait_until() { # TENTHS COMMAND...
	local left=$1
	shift
	until "$@"; do
		((left-- > 0)) || return 1
		sleep 0.1
	done
}

show_log() { # NAME
	printf -- '--- the last lines of %s:\n' "$1" >&2
	tail -n 15 "$folder/$1.log" >&2
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() { # FIRST: the first port from there on that nobody listens on
	local port
	for ((port = $1; port < $1 + 500; port++)); do
		if port_is_free "$port"; then
			echo "$port"
			return 0
		fi
	done
	return 1
}

has_said_address() { grep -q '^listening on ' "$folder/$1.out" || ! alive "$1"; }

start_service() { # NAME [OPTION...]: sets service_url
	local name=$1
	shift
	start "$name" "$build/demo/$name" --listen 127.0.0.1:0 "$@"
	wait_until 50 has_said_address "$name"
	service_url=http://$(sed -n 's/^listening on //p' "$folder/$name.out")
	[[ $service_url != http:// ]] || { show_log "$name"; fail "$name does not start"; }
}

# ---- questions to the gateway -------------------------------------------------------------------------

phoenixctl() { "$build/phoenixctl" --admin "$admin_url" "$@"; }
is_ready() { curl -fsS -m 2 -o /dev/null "$admin_url/readyz" 2>/dev/null || ! alive phoenixd; }

weight_of() { # ROUTE: what the data path has, read back
	curl -fsS -m 5 "$admin_url/admin/routes/$1/weight" | sed -nE 's/.*"set": *([0-9.]+).*/\1/p' | head -n 1
}

decisions_of() { # ROUTE
	curl -fsS -m 5 "$admin_url/admin/routes/$1/decisions" | grep -oE '"action": *"[a-z_]+"' |
		sed -E 's/.*"([a-z_]+)"$/\1/' | sort | uniq -c | awk '{printf "%s%s × %s", n++ ? ", " : "", $2, $1}'
}

served_by() { # legacy|modern: requests of clients that this side answered
	curl -fsS -m 5 "$admin_url/metrics" |
		awk -v side="backend=\"$1\"" '/^phoenix_requests_total[{]/ && index($0, side) {n += $NF}
			END {printf "%d\n", n}'
}

no_more_modern() { # nothing served by modern within a second in which legacy served something
	local modern legacy
	modern=$(served_by modern) legacy=$(served_by legacy)
	sleep 1
	[[ $(served_by modern) -eq $modern && $(served_by legacy) -gt $legacy ]]
}

# ---- the demo -----------------------------------------------------------------------------------------

check_arguments() {
	local name
	case $fault in
	none | wrong-value | wrong-status | slow | crash) ;;
	*) usage "FAULT is \"$fault\", but must be wrong-value, wrong-status, slow or crash" ;;
	esac
	if [[ ${XDP:-0} != 0 ]]; then
		usage "XDP=1: the NIC path is not part of this version; this demo runs on the daemon path (leave XDP out)"
	fi
	for name in phoenixd phoenixctl phoenix-traffic demo/bank-legacy demo/bank-modern; do
		[[ -x $build/$name ]] || usage "$build/$name is not there: build it first (make)"
	done
	command -v curl >/dev/null || usage "curl is not there: tools/setup.sh demo installs it"
}

route_json() { # ID METHOD PATH UNSAFE
	cat <<-JSON
		{"id": "$1", "method": "$2", "path": "$3",
		 "legacy_url": "$legacy_url", "modern_url": "$modern_url", "weight": 0.0,
		 "mirror":  {"sample": 1.0, "unsafe_methods": $4},
		 "compare": {"ignore": ["/meta/generated_at"], "headers": ["content-type"]},
		 "arbiter": {"enabled": true, "interval_ms": 500}}
	JSON
}

write_configuration() {
	cat >"$folder/phoenix.json" <<-JSON
		{
		"listen": ["127.0.0.1:$gateway_port"],
		"admin": {"listen": "127.0.0.1:$admin_port", "socket": "$folder/admin.sock"},
		"state": {"store": "file", "path": "$folder/state.json"},
		"xdp": {"mode": "off"},
		"routes": [
		$(route_json transfer-funds POST /transfer-funds true),
		$(route_json account GET '/accounts/{id}' false),
		$(route_json account-transfers GET '/accounts/{id}/transfers' false)
		]
		}
	JSON
}

start_all() {
	local -a break=()
	[[ $fault == none ]] || break=(--fault "$fault" --fault-after "$fault_after")
	folder=$(mktemp -d "${TMPDIR:-/tmp}/phoenix-demo.XXXXXX") || fail "no temporary folder"
	start_service bank-legacy
	legacy_url=$service_url
	start_service bank-modern "${break[@]}"
	modern_url=$service_url
	gateway_port=$(free_port 8080) || fail "no free port from 8080 on"
	admin_port=$(free_port 9900) || fail "no free port from 9900 on"
	gateway_url=http://127.0.0.1:$gateway_port
	admin_url=http://127.0.0.1:$admin_port
	write_configuration
	start phoenixd "$build/phoenixd" --config "$folder/phoenix.json"
	wait_until 100 is_ready
	curl -fsS -m 2 -o /dev/null "$admin_url/readyz" 2>/dev/null ||
		{ show_log phoenixd; fail "phoenixd is not ready after 10 s"; }

	say "legacy service  $legacy_url"
	say "modern service  $modern_url$([[ $fault == none ]] ||
		echo "  (breaks after $fault_after requests: $fault)")"
	say "gateway         $gateway_url   try: curl $gateway_url/accounts/1001"
	say "web page        $admin_url/"
	say "traffic         $rate requests a second: POST /transfer-funds, GET /accounts/{id}," \
		"GET /accounts/{id}/transfers"
	say ""
	start traffic "$build/phoenix-traffic" run tools/demo/transfer-funds.json --url "$gateway_url" \
		--rate "$rate" --duration 24h --connections 32 --unmarked --progress 0 -o table
}

follow() { # STATE: live progress until every route is there; phoenixctl's exit code
	"$build/phoenixctl" --admin "$admin_url" status --watch --wait-for "$1" --timeout "$deadline" </dev/null &
	pids[watch]=$!
	wait "${pids[watch]}"
	local code=$?
	unset "pids[watch]"
	return "$code"
}

traffic_figure() { awk -v name="$1" '$1 == name {print $2}' "$folder/traffic.out"; } # sent, answered, failed

# What it cost and how it was decided. Fails when the figures do not add up.
summary() {
	local route sent failed legacy modern
	stop traffic
	sent=$(traffic_figure sent) failed=$(traffic_figure failed)
	legacy=$(served_by legacy) modern=$(served_by modern)
	[[ -n $sent && -n $failed ]] || { show_log traffic; fail "the traffic client gave no report"; }
	say ""
	say "requests sent    $sent"
	say "answered by      legacy $legacy, modern $modern"
	say "failed           $failed$([[ $failed -eq 0 ]] || echo ": what clients saw of the fault before the rollback")"
	for route in "${routes[@]}"; do
		say "decisions        $route: $(decisions_of "$route")"
	done
	[[ $fault == none ]] || return 0
	[[ $failed -eq 0 ]] || fail "$failed requests of clients failed: a migration must not cost one"
	[[ $((legacy + modern)) -eq $sent ]] ||
		fail "the client sent $sent requests, the gateway counted $((legacy + modern)): they must be equal"
}

keep_open() {
	say ""
	say "KEEP=1: traffic goes on. Gateway $gateway_url, web page $admin_url/"
	say "Also: $build/phoenixctl --admin $admin_url status --watch. Ctrl-C ends everything."
	trap 'say ""; exit 0' INT TERM
	wait "${pids[phoenixd]}"
	show_log phoenixd
	fail "phoenixd has ended by itself"
}

main() {
	local wanted=complete weight=1 code route verdict
	check_arguments
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	[[ $fault == none ]] || wanted=rolled-back weight=0
	start_all
	follow "$wanted"
	code=$?
	# Waiting for a rollback, phoenixctl may call it a success (0) or a rollback (10): the weights decide.
	if [[ $code -ne 0 && ! ($wanted == rolled-back && $code -eq 10) ]]; then
		alive phoenixd || show_log phoenixd
		alive traffic || show_log traffic
		fail "the migration did not end as expected: phoenixctl ended with $code while waiting for \"$wanted\""
	fi
	for route in "${routes[@]}"; do
		awk -v got="$(weight_of "$route")" -v want="$weight" 'BEGIN {exit !(got != "" && got == want)}' ||
			fail "route $route is at weight $(weight_of "$route"), not $weight"
	done
	if [[ $fault != none ]]; then
		wait_until 5 no_more_modern || fail "the modern service still answers requests after the rollback"
	fi
	say ""
	phoenixctl status
	verdict="Migration Complete"
	[[ $fault == none ]] || verdict="Rollback triggered: every route is back at 0 %, legacy answers all requests"
	if [[ ${KEEP:-0} != 0 ]]; then
		say ""
		say "$verdict"
		keep_open
	fi
	summary
	say ""
	say "$verdict"
}

main "$@"
