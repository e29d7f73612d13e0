# What the scripts of the machine share: each check prints `PASS name` or `FAIL name: why`.

# check NAME EXPECTED COMMAND...: what the command prints, and its exit code when that is not 0, must be as expected.
check() {
    name=$1
    expected=$2
    shift 2
    got=$("$@" 2>/tmp/stderr)
    code=$?
    if [ $code != 0 ]; then got="$got [$code]"; fi
    if [ "$got" = "$expected" ]; then
        echo "PASS $name"
    else
        echo "FAIL $name: expected '$expected', got '$got'; $(tail -c 300 /tmp/stderr | tr '\n' ' ')"
    fi
}

# within SECONDS COMMAND...: whether the command succeeds within the time.
within() {
    left=$(($1 * 10))
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ $left -le 0 ]; then return 1; fi
        usleep 100000
    done
}

