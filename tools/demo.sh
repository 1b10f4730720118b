#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh: a whole migration on this machine, start to end, in about half a minute. `make demo` calls it.
#
#   phoenix-traffic ──▶ phoenixd ──▶ bank-legacy     (every request)
#                           └──────▶ bank-modern     (a copy of each, then more and more of the real ones)
#
#   ┌─ client ────────┐     ┌─ gateway ──────────────────┐     ┌─ legacy ────────┐
#   │ phoenix-traffic │═════│ XDP: eth0 ══╦═ eth1        │═════│ bank-legacy     │      XDP=1
#   └─────────────────┘     │ phoenixd    ╚═ eth2        │══╗  └─────────────────┘
#                           └────────────────────────────┘  ╚══  modern: bank-modern
#
# Everything is started on free loopback ports with its files in a folder of its own, and ended by its own
# pid, whatever happens. Nothing outside that folder is touched.
#
#   O=build        where the programs were built
#   FAULT=KIND     wrong-value, wrong-status, slow or crash: the modern service breaks on the way
#   KEEP=1         leaves traffic, gateway and web page up at the end, until Ctrl-C
#   XDP=1          the NIC path, as root: client, gateway and both services in network namespaces of their own,
#                  joined by veth pairs; the end tells how many requests each path served
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
# With XDP=1: the namespaces, and how a command gets into each.
spaces=()
into_client=() into_gateway=() into_bank_legacy=() into_bank_modern=()
pin_dir=

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
	for name in "${spaces[@]}"; do
		ip netns delete "$name"
	done
	[[ -z $pin_dir ]] || rm -rf "$pin_dir"
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

start_service() { # NAME ADDRESS:PORT [OPTION...]: sets service_url
	local name=$1 listen=$2
	local -n into=into_${name//-/_}
	shift 2
	start "$name" "${into[@]}" "$build/demo/$name" --listen "$listen" "$@"
	wait_until 50 has_said_address "$name"
	service_url=http://$(sed -n 's/^listening on //p' "$folder/$name.out")
	[[ $service_url != http:// ]] || { show_log "$name"; fail "$name does not start"; }
}

# ---- questions to the gateway -------------------------------------------------------------------------

# By its Unix socket, which is the same file in every namespace.
phoenixctl() { "$build/phoenixctl" --admin "$folder/admin.sock" "$@"; }
get() { curl -fsS -m 5 --unix-socket "$folder/admin.sock" "http://localhost$1"; }
is_ready() { get /readyz >/dev/null 2>&1 || ! alive phoenixd; }

weight_of() { # ROUTE: what the data path has, read back
	get "/admin/routes/$1/weight" | sed -nE 's/.*"set": *([0-9.]+).*/\1/p' | head -n 1
}

decisions_of() { # ROUTE
	get "/admin/routes/$1/decisions" | grep -oE '"action": *"[a-z_]+"' |
		sed -E 's/.*"([a-z_]+)"$/\1/' | sort | uniq -c | awk '{printf "%s%s × %s", n++ ? ", " : "", $2, $1}'
}

requests_with() { # LABEL VALUE: requests of clients that /metrics counts with this label
	get /metrics |
		awk -v label="$1=\"$2\"" '/^phoenix_requests_total[{]/ && index($0, label) {n += $NF}
			END {printf "%d\n", n}'
}
served_by() { requests_with backend "$1"; } # legacy|modern

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
		[[ $(id -u) -eq 0 ]] || usage "XDP=1 makes network namespaces and loads BPF programs: run it as root"
		for name in ip ethtool nsenter; do
			command -v "$name" >/dev/null || usage "$name is not there: tools/setup.sh demo installs it"
		done
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

# A namespace, joined to the gateway's by a veth pair. Its end gets a program that passes everything (without one
# a veth device drops what its peer's program sends) and no offloads (half a checksum cannot be rewritten).
join() { # NAME NUMBER
	local space=phoenix-demo-$$-$1 device=eth$2 net=198.18.$2
	ip netns add "$space" || fail "no network namespace"
	spaces+=("$space")
	ip -n "$space" link set lo up &&
		ip -n "${spaces[0]}" link add "$device" type veth peer name eth0 netns "$space" &&
		ip -n "${spaces[0]}" address add "$net.1/24" dev "$device" &&
		ip -n "${spaces[0]}" link set "$device" up &&
		ip -n "$space" address add "$net.2/24" dev eth0 &&
		ip -n "$space" link set eth0 xdp object "$build/obj/bpf/pass.bpf.o" section xdp &&
		ip -n "$space" link set eth0 up &&
		ip -n "$space" route add default via "$net.1" &&
		nsenter --net="/run/netns/$space" ethtool -K eth0 tx off tso off gso off gro off >/dev/null ||
		fail "the link of $1 cannot be made"
}

make_network() {
	local gateway=phoenix-demo-$$-gateway
	ip netns add "$gateway" || fail "no network namespace"
	spaces=("$gateway")
	ip -n "$gateway" link set lo up
	join client 0
	join legacy 1
	join modern 2
	into_gateway=(nsenter "--net=/run/netns/$gateway")
	into_client=(nsenter "--net=/run/netns/${spaces[1]}")
	into_bank_legacy=(nsenter "--net=/run/netns/${spaces[2]}")
	into_bank_modern=(nsenter "--net=/run/netns/${spaces[3]}")
	pin_dir=/sys/fs/bpf/phoenix-demo-$$
	xdp="{\"interfaces\": [\"eth0\", \"eth1\", \"eth2\"], \"pin_dir\": \"$pin_dir\"}"
	legacy_listen=198.18.1.2:80 modern_listen=198.18.2.2:80 gateway_listen=198.18.0.1:80
}

write_configuration() {
	cat >"$folder/phoenix.json" <<-JSON
		{
		"listen": ["$gateway_listen"],
		"admin": {"listen": "127.0.0.1:$admin_port", "socket": "$folder/admin.sock"},
		"state": {"store": "file", "path": "$folder/state.json"},
		"xdp": $xdp,
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
	local legacy_listen=127.0.0.1:0 modern_listen=127.0.0.1:0 gateway_listen xdp='{"mode": "off"}'
	admin_port=$(free_port 9900) || fail "no free port from 9900 on"
	if [[ ${XDP:-0} != 0 ]]; then
		make_network
	else
		gateway_listen=127.0.0.1:$(free_port 8080) || fail "no free port from 8080 on"
	fi
	start_service bank-legacy "$legacy_listen"
	legacy_url=$service_url
	start_service bank-modern "$modern_listen" "${break[@]}"
	modern_url=$service_url
	gateway_url=http://${gateway_listen%:80}
	write_configuration
	start phoenixd "${into_gateway[@]}" "$build/phoenixd" --config "$folder/phoenix.json"
	wait_until 100 is_ready
	get /readyz >/dev/null 2>&1 || { show_log phoenixd; fail "phoenixd is not ready after 10 s"; }

	say "legacy service  $legacy_url"
	say "modern service  $modern_url$([[ $fault == none ]] ||
		echo "  (breaks after $fault_after requests: $fault)")"
	local try="${into_client[*]} curl $gateway_url/accounts/1001" page=http://127.0.0.1:$admin_port/
	say "gateway         $gateway_url   try: ${try# }"
	[[ ${XDP:-0} == 0 ]] || page+=" in the namespace ${spaces[0]}; phoenixctl --admin $folder/admin.sock is everywhere"
	say "web page        $page"
	[[ ${XDP:-0} == 0 ]] || say "NIC path        $(get /admin/datapath | grep -oE '"mode": *"[a-z]+"' | head -n 1)" \
		"on eth0, eth1, eth2 of the gateway"
	say "traffic         $rate requests a second: POST /transfer-funds, GET /accounts/{id}," \
		"GET /accounts/{id}/transfers"
	say ""
	start traffic "${into_client[@]}" "$build/phoenix-traffic" run tools/demo/transfer-funds.json --url "$gateway_url" \
		--rate "$rate" --duration 24h --connections 32 --unmarked --progress 0 -o table
}

follow() { # STATE: live progress until every route is there; phoenixctl's exit code
	"$build/phoenixctl" --admin "$folder/admin.sock" status --watch --wait-for "$1" --timeout "$deadline" </dev/null &
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
	[[ ${XDP:-0} == 0 ]] ||
		say "by path          XDP $(requests_with path xdp), daemon $(requests_with path daemon)"
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
	say "KEEP=1: traffic goes on. Gateway $gateway_url, web page http://127.0.0.1:$admin_port/"
	say "Also: $build/phoenixctl --admin $folder/admin.sock status --watch. Ctrl-C ends everything."
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
