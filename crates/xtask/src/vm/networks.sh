# Networks that this kernel has and others often have not: ipvlan, and SCTP with somebody who speaks it.
. /checks.sh

# Another machine, on a wire to this one: `near` runs a command there.
ip link add wire0 type veth
far=$(ip -o link | sed -n 's/^[0-9]*: \(veth[0-9]*\)@.*/\1/p' | head -n 1)
unshare -n sleep 100000 &
neighbour=$!
within 5 sh -c "! [ /proc/$neighbour/ns/net -ef /proc/self/ns/net ]"
ip link set "$far" netns $neighbour
near() { nsenter -t $neighbour -n "$@"; }
ip address add 10.9.0.1/24 dev wire0
ip link set wire0 up
near ip link set "$far" name wire
near ip address add 10.9.0.2/24 dev wire
near ip link set wire up
near ip link set lo up
near ip route add default via 10.9.0.1

resident() {
    name=$1
    shift
    mica run -d --name "$name" "$@" busybox sleep 1000 >/dev/null
}
pings() { mica exec "$1" ping -c 1 -W 3 "$2"; }

mica run -d --name web -p 8080:80 busybox sh -c "echo I am web > /index.html; exec httpd -f -p 80 -h /" >/dev/null
check port_from_host "" within 20 wget -qO- http://127.0.0.1:8080/
check port_from_neighbour "I am web" near wget -qO- http://10.9.0.1:8080/
check port_from_container "I am web" mica run --rm busybox wget -qO- http://10.9.0.1:8080/

for kind in "macvlan " "ipvlan l2" "ipvlan l3" "ipvlan l3s"; do
    driver=${kind% *} mode=${kind#* }
    label=$driver${mode:+_$mode}
    mica network create -d "$driver" ${mode:+-o ipvlan_mode=$mode} -o parent=wire0 --subnet 10.9.0.0/24 \
        --ip-range 10.9.0.64/28 --gateway 10.9.0.2 wire >/dev/null
    resident one --network wire
    resident two --network wire
    check "${label}_by_name" "" within 10 pings one two
    case $mode in
        # At layer 3 the neighbour has to be told the way.
        l3*) ;;
        *) check "${label}_neighbour" "" within 10 pings one 10.9.0.2 ;;
    esac
    check "${label}_removed" "$(printf "one\ntwo\nwire")" sh -c "mica rm -f one two; mica network rm wire"
done

serve='socket(S, 2, 1, 132) or die "socket: $!"; bind(S, pack("S n x12", 2, 5000)) or die "bind: $!"; listen(S, 5);
    while (accept(C, S)) { syswrite(C, "hello over sctp\n"); close(C) }'
ask='socket(S, 2, 1, 132) or die "socket: $!";
    connect(S, pack("S n C4 x8", 2, 9000, 10, 9, 0, 1)) or die "connect: $!"; sysread(S, $b, 99); print $b'
check perl_imported 1 sh -c 'mica import /fixtures/perl.tar perl | grep -c sha256'
mica run -d --name signal -p 9000:5000/sctp perl perl -e "$serve" >/dev/null
check sctp_listed "5000/sctp -> 0.0.0.0:9000" sh -c 'mica port signal | head -n 1'
check sctp_from_host "" within 20 mica run --rm --network host perl perl -e "$ask"
check sctp_from_host_text "hello over sctp" mica run --rm --network host perl perl -e "$ask"
check sctp_from_container "hello over sctp" mica run --rm perl perl -e "$ask"
check sctp_from_neighbour "hello over sctp" near mica run --rm --network host perl perl -e "$ask"
check sctp_conflict " [125]" mica run --rm -p 9000:5000/sctp perl true
check sctp_removed "$(printf "signal\nweb")" mica rm -f signal web
check sctp_closed " [111]" mica run --rm --network host perl perl -e "$ask"
check links_gone 0 sh -c 'ip -o link | grep -c ": mv" || true'
kill $neighbour
