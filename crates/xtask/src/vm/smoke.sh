# The smoke set on cgroup v2.
. /checks.sh

state() { mica inspect --format "{{.State.Status}} {{.State.ExitCode}}" "$1"; }
uses_memory() { mica stats --no-stream --format "{{.MemUsage}}" "$1" | grep -Eq "^[0-9.]*[1-9][0-9.]*[kKMG]i?B / "; }
willing='trap "exit 0" TERM; sleep 1000 & wait'

check load "Loaded image: busybox:latest" mica load -q -i /fixtures/busybox.tar
check run_true "" mica run --network none --rm busybox true
check run_code " [42]" mica run --network none --rm busybox sh -c "exit 42"
check run_not_found " [127]" mica run --network none --rm busybox no-such-program
check run_output "hello" mica run --network none --rm busybox echo hello
check memory_limit 67108864 mica run --network none --rm --memory 64m busybox cat /sys/fs/cgroup/memory.max
check pids_limit 20 mica run --network none --rm --pids-limit 20 busybox cat /sys/fs/cgroup/pids.max
check cpu_limit "50000 100000" mica run --network none --rm --cpus 0.5 busybox cat /sys/fs/cgroup/cpu.max
check own_cgroup "0::/" mica run --network none --rm busybox cat /proc/self/cgroup
kernel_log='mica run --network none --rm --cap-add syslog'
check usual_devices 11 $kernel_log busybox sh -c "echo > /dev/null; cat /dev/zero /dev/random | head -c 11 | wc -c"
check device_refused 0 $kernel_log busybox sh -c "mknod /log c 1 11; head -c 1 /log 2>/dev/null | wc -c"
check device_given 1 $kernel_log --device /dev/kmsg:/log:r busybox sh -c "head -c 1 /log | wc -c"
check device_not_written " [1]" $kernel_log --device /dev/kmsg:/log:r busybox sh -c ": > /log"
check device_by_rule 1 $kernel_log --device-cgroup-rule "c 1:11 r" busybox sh -c "mknod /log c 1 11; head -c 1 /log | wc -c"
check device_of_privileged 1 mica run --network none --rm --privileged busybox sh -c "head -c 1 /dev/kmsg | wc -c"
check out_of_memory " [137]" mica run --network none --name greedy --memory 16m busybox tail /dev/zero
check out_of_memory_told true mica inspect --format "{{.State.OOMKilled}}" greedy
check out_of_memory_announced 1 sh -c 'mica events --since 0 --until 0s --filter event=oom | grep -c name=greedy'
check swap_limit 16777216 mica run --network none --rm --memory 16m --memory-swap 32m busybox cat /sys/fs/cgroup/memory.swap.max
check reservation 8388608 mica run --network none --rm --memory-reservation 8m busybox cat /sys/fs/cgroup/memory.low
check cpu_weight 20 mica run --network none --rm --cpu-shares 512 busybox cat /sys/fs/cgroup/cpu.weight
check swappiness_told 1 sh -c 'mica run --network none --rm --memory-swappiness 5 busybox true 2>&1 | grep -c "Memory swappiness discarded"'
check oom_kill_disable_told 1 sh -c 'mica run --network none --rm --memory 16m --oom-kill-disable busybox true 2>&1 | grep -c "OomKillDisable discarded"'
check realtime_told " [125]" mica run --network none --rm --cpu-rt-runtime 1000 busybox true
check device_rate "1:0 rbps=1048576 wbps=max riops=max wiops=5" mica run --network none --rm --device-read-bps /dev/ram0:1mb --device-write-iops /dev/ram0:5 busybox cat /sys/fs/cgroup/io.max
check device_weight "default 4950" mica run --network none --rm --blkio-weight 500 busybox cat /sys/fs/cgroup/io.weight
check hello_runs "" sh -c 'mica run --network none --rm hello | grep -qi pid'

mica run --network none -d --name steady busybox sh -c "echo begun; $willing" >/dev/null
check logs begun sh -c "mica logs steady"
check exec inside mica exec steady echo inside
check exec_code " [7]" mica exec steady sh -c "exit 7"
check exec_in_same_cgroup "0::/" mica exec steady cat /proc/self/cgroup
check stats "" uses_memory steady
check pause steady mica pause steady
check paused "paused 0" state steady
check frozen 1 sh -c 'cat /sys/fs/cgroup/mica/*/cgroup.freeze'
check unpause steady mica unpause steady
check unpaused "running 0" state steady
check update steady mica update --memory 128m --memory-swap 128m steady
check updated 134217728 mica exec steady cat /sys/fs/cgroup/memory.max
mica exec -d steady tail /dev/zero
check out_of_memory_live "" within 20 sh -c 'mica events --since 0 --until 0s --filter event=oom | grep -q name=steady'
check alive_after_it "running 0" state steady
check stop steady mica stop steady
check stopped "exited 0" state steady

probe='test -e /well || { sleep 60 & (setsid sleep 61 &); sleep 62; }'
health() { test "$(mica inspect --format "{{.State.Health.Status}}" probed)" = "$1"; }
mica run --network none -d --name probed --health-cmd "$probe" --health-interval 200ms --health-timeout 400ms \
    --health-retries 1 busybox sleep 1000 >/dev/null
check unhealthy "" within 20 health unhealthy
mica exec probed touch /well
check healthy "" within 20 health healthy
check probes_ended 0 sh -c 'mica top probed | grep -c "sleep 6" || true'
check probed_removed probed mica rm -f probed

# Clocks that are set while somebody waits: no wait is by a clock that can be.
jump() { date -s "@$(($(date +%s) + $1))" >/dev/null; }
seconds() { cut -d. -f1 /proc/uptime; }
# took LEAST MOST COMMAND...: whether the command takes so many seconds; more than LEAST means that it was waited for.
took() {
    least=$1
    most=$2
    shift 2
    began=$(seconds)
    "$@" >/dev/null || return
    spent=$(($(seconds) - began))
    if [ $spent -lt "$least" ] || [ $spent -gt "$most" ]; then echo "took $spent s"; fi
}
deaf='trap "" TERM; while :; do sleep 1; done'
mica run --network none -d --name deaf busybox sh -c "$deaf" >/dev/null
mica run --network none -d --name timed --health-cmd "test -e /well" --health-interval 300ms --health-retries 1 \
    --restart always busybox sh -c "touch /well; sleep 2; exit 1" >/dev/null
restarts() { mica inspect --format "{{.RestartCount}}" timed; }
restarted() { [ "$(restarts)" -gt "$1" ]; }
(sleep 1; jump 86400) &
check clock_forward_stop "" took 2 20 mica stop -t 4 deaf
check clock_forward_restart "" within 30 restarted "$(restarts)"
mica start deaf >/dev/null
(sleep 1; jump -172800) &
check clock_back_stop "" took 3 20 mica stop -t 4 deaf
check clock_back_restart "" within 30 restarted "$(restarts)"
(sleep 1; jump -86400) &
check clock_back_events "" took 2 20 mica events --since 0 --until $(($(date +%s) + 4))
mica exec timed touch /well 2>/dev/null
check clock_back_health "" within 20 sh -c '[ "$(mica inspect --format "{{.State.Health.Status}}" timed)" = healthy ]'
jump 172800
check clock_removed "$(printf "deaf\ntimed")" mica rm -f deaf timed

mica run --network none -d --name victim busybox sleep 1000 >/dev/null
check kill victim mica kill victim
check killed "" within 10 sh -c '[ "$(mica inspect --format "{{.State.ExitCode}}" victim)" = 137 ]'
mica run --network none -d --name forced busybox sleep 1000 >/dev/null
check rm_forced forced mica rm -f forced
check rm "$(printf "greedy\nsteady\nvictim")" mica rm greedy steady victim
check none_listed "" mica ps -aq
check no_cgroup_left "" within 5 sh -c '[ "$(find /sys/fs/cgroup/mica -mindepth 1 -type d 2>/dev/null | wc -l)" = 0 ]'
check no_mount_left 0 sh -c 'grep -c overlay /proc/self/mountinfo || true'
