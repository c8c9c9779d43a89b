# lib.sh: what the scripts inside the machine share; they source it. Checks nothing by itself.
# shellcheck shell=bash

# The client secret of the tests. Nothing that is written anywhere may ever hold it; `run` looks for it.
# shellcheck disable=SC2034
readonly MARK=mark-7d1f0c42e9-secret
readonly API=http://127.0.0.1:8089
readonly CONFIG=/etc/tink-sync/tink-sync.toml
readonly STORE=/var/lib/tink-sync/tink-sync.db

passed=0 failed=0

# check NAME COMMAND...: one line per check; what a failed one said follows.
check() {
    local name=$1 said code=0
    shift
    said=$("$@" 2>&1) || code=$?
    if [[ $code -eq 0 ]]; then
        echo "ok    $name"
        passed=$((passed + 1))
    else
        echo "FAIL  $name"
        printf '      %s\n' "exit $code: $*" "${said:-no output}"
        failed=$((failed + 1))
    fi
}

# finish: to be called last; the script's exit code.
finish() {
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}

# until_true COMMAND...: waits until it is so, half a minute at most.
until_true() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "waited for nothing: $*"
    return 1
}

# exits CODE COMMAND...: whether it ends with that code.
exits() {
    local expected=$1 code=0
    shift
    "$@" || code=$?
    [[ $code -eq $expected ]] || { echo "ended with $code, not $expected"; return 1; }
}

# is TEXT COMMAND...: whether the command says exactly this.
is() {
    local expected=$1 said
    shift
    said=$("$@" 2>&1) || true
    [[ $said == "$expected" ]] || { echo "said '$said', not '$expected'"; return 1; }
}

# says PATTERN COMMAND...: whether what it says contains the pattern (extended regular expression).
says() {
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) || true
    grep -qE -- "$pattern" <<<"$said" || { echo "no '$pattern' in: $said"; return 1; }
}

# within WORDS WORDS: whether each of the second is one of the first, and there is one.
within() {
    local word
    [[ -n $2 ]] || { echo 'nothing at all'; return 1; }
    for word in $2; do
        [[ " $1 " == *" $word "* ]] || { echo "$word is not one of: $1"; return 1; }
    done
}

# not COMMAND...
not() {
    if "$@"; then
        echo "should have failed: $*"
        return 1
    fi
}

# sandbox OPTION...: starts the fake Tink anew and waits until it answers.
sandbox() {
    sandbox_ends
    /s/tink-sandbox --listen 127.0.0.1:8089 --client-secret "$MARK" --rates plain --day 4 "$@" >/t/sandbox 2>&1 &
    sandbox_process=$!
    until_true grep -q ready /t/sandbox
}

sandbox_ends() {
    [[ -z ${sandbox_process:-} ]] || { kill "$sandbox_process" && wait "$sandbox_process" || true; }
    sandbox_process=''
}

# control CALL [JSON]: a control call to the fake Tink.
control() {
    curl -sS --fail-with-body -X POST -d "${2:-{\}}" "$API/_sandbox/$1"
}

faults_end() {
    curl -sS -X DELETE "$API/_sandbox/faults"
}

# application N: a database of an application with N connections c-0, c-1, … that are all entitled.
application() {
    mkdir -p /var/lib/app
    rm -f /var/lib/app/app.db*
    sqlite3 /var/lib/app/app.db >/dev/null <<SQL
PRAGMA journal_mode = wal;
CREATE TABLE links (id TEXT, enabled INT);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1)
INSERT INTO links SELECT i, 1 FROM n;
CREATE VIEW tink_sync_source_v1 AS SELECT 'c-' || id AS connection_id, 'u-' || id AS user_id, enabled,
    1 AS entitled, 'user-' || id AS external_user_id FROM links;
SQL
    chmod 755 /var/lib/app
    chmod 644 /var/lib/app/app.db
}

# configure [LINE...]: a configuration for the fake Tink and the application, with further lines of TOML.
configure() {
    {
        printf '%s\n' "tink.client_id = 'sandbox-client'" "tink.api_url = '$API'" \
            'tink.requests_per_second = 10000' "source.view = 'tink_sync_source_v1'" \
            "source.database = '/var/lib/app/app.db'" "sync.min_interval = '0s'" "retry.base = '10ms'" \
            "retry.max = '50ms'" "$@"
    } >$CONFIG
}

# credential: the client secret in plain text where the unit finds it.
credential() {
    (umask 077 && printf '%s\n' "$MARK" >/etc/credstore/tink-sync.client-secret)
}

# drop_in UNIT LINE...: changes a unit as `systemctl edit` does.
drop_in() {
    local unit=$1
    shift
    mkdir -p "/etc/systemd/system/$unit.d"
    printf '%s\n' "$@" >"/etc/systemd/system/$unit.d/test.conf"
    systemctl daemon-reload
}

no_drop_in() {
    rm -rf "/etc/systemd/system/$1.d"
    systemctl daemon-reload
}

# start [UNIT]: a pass, not held up by the limit on quick starts.
start() {
    systemctl reset-failed 2>/dev/null || true
    systemctl start "${1:-tink-sync.service}"
}

# pass_under_way: starts a pass and waits until the program itself is at work; the unit is `activating` before there is one.
pass_under_way() {
    systemctl start --no-block tink-sync.service
    until_true is activating systemctl is-active tink-sync.service
    until_true says . systemctl show -P StatusText tink-sync.service
}

# sql QUERY: from the store, as root, read-only.
sql() {
    sqlite3 -readonly "$STORE" "$1"
}

# records [MATCH...]: journal records of the service as JSON, one per line.
records() {
    journalctl --sync
    journalctl -u tink-sync -o json --all --no-pager "$@"
}

# last_result [UNIT]: how the unit's last run ended for systemd.
last_result() {
    systemctl show -P Result "${1:-tink-sync.service}"
}
