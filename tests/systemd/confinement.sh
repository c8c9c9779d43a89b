#!/usr/bin/env bash
# The sandbox of the units, by attempt: the same program tries the same things with and without it.
set -uo pipefail
. ./lib.sh
cat >/usr/local/lib/attempts.pl <<'PERL'
# Tries what a break-in would try; prints one word for each that works.
use strict;
use Config;
use Socket;
sub attempt { my ($name, $try) = @_; print "$name\n" if eval { $try->() } }
attempt('write-etc', sub { open my $f, '>', '/etc/attempt' });
attempt('write-usr', sub { open my $f, '>', '/usr/attempt' });
attempt('write-var', sub { open my $f, '>', '/var/lib/attempt' });
attempt('write-app', sub { open my $f, '>>', '/var/lib/app/app.db' });
attempt('read-home', sub { open my $f, '<', '/home/someone/file' });
attempt('read-root', sub { open my $f, '<', '/root/file' });
attempt('read-credstore', sub { open my $f, '<', '/etc/credstore/tink-sync.client-secret' });
# mmap of a page that is writable and executable; mprotect of one that was writable (by number: perl knows no names)
my $arm = $Config{archname} =~ /aarch64/;
my ($mmap, $mprotect, $unshare) = $arm ? (222, 226, 97) : (9, 10, 272);
attempt('write-and-execute', sub { syscall($mmap, 0, 4096, 7, 0x22, -1, 0) != -1 });
attempt('make-executable', sub {
    my $page = syscall($mmap, 0, 4096, 3, 0x22, -1, 0);
    syscall($mprotect, $page, 4096, 5) != -1;
});
attempt('run-shell', sub { system('/bin/sh', '-c', 'true') == 0 });
attempt('raw-socket', sub { socket my $s, AF_INET, SOCK_RAW, 1 });
attempt('packet-socket', sub { socket my $s, 17, SOCK_RAW, 0 });
attempt('netlink', sub { socket my $s, 16, SOCK_RAW, 0 });
attempt('other-processes', sub { -e '/proc/1/status' });
attempt('new-namespace', sub { syscall($unshare, 0x04000000) != -1 });
attempt('set-id-file', sub {
    my $path = "$ENV{PLACE}/file";
    open my $f, '>', $path or die;
    chmod 04755, $path and ((stat $path)[2] & 04000);
});
attempt('state', sub { open my $f, '>', "$ENV{PLACE}/state" });
attempt('private-tmp', sub { ! -e '/tmp/seen-by-all' });
PERL
useradd -m someone
echo secret >/home/someone/file
chmod 755 /home/someone
echo secret >/root/file
touch /tmp/seen-by-all
application 1
credential
configure

# The whole program directory becomes executable for this attempt, since a script needs its interpreter;
# that a shell is not executable otherwise is tried below.
try() {
    drop_in "$1" '[Service]' 'ExecStart=' "ExecStart=/usr/bin/perl /usr/local/lib/attempts.pl" \
        'ExecPaths=/usr/bin/perl' 'Environment=PLACE=/var/lib/tink-sync' "StandardOutput=append:/t/attempts"
    : >/t/attempts && chmod 666 /t/attempts
    systemctl start "${2:-$1}"
    no_drop_in "$1"
    cat /t/attempts
}
pass=$(try tink-sync.service)
single=$(try tink-sync@.service tink-sync@c-0.service)
free=$(PLACE=/root perl /usr/local/lib/attempts.pl)

for attempt in write-etc write-usr write-var write-app read-home read-root read-credstore write-and-execute make-executable run-shell \
    raw-socket packet-socket netlink other-processes new-namespace set-id-file; do
    check "without the sandbox: $attempt" grep -qx $attempt <<<"$free"
    check "in a pass: no $attempt" not grep -qx $attempt <<<"$pass"
    check "on demand: no $attempt" not grep -qx $attempt <<<"$single"
done
for attempt in state private-tmp; do
    check "in a pass: $attempt" grep -qx $attempt <<<"$pass"
    check "on demand: $attempt" grep -qx $attempt <<<"$single"
done

# No interpreter at all can be started in the place of the program.
shell_starts() {
    drop_in tink-sync.service '[Service]' 'ExecStart=' 'ExecStart=/bin/sh -c true'
    start
}
check 'a shell cannot even be started' not shell_starts
check 'because it may not be executed' is 203 systemctl show -P ExecMainStatus tink-sync.service
no_drop_in tink-sync.service

check 'both units are confined alike' is '' diff <(sed -n '/^User=/,$p' /usr/lib/systemd/system/tink-sync.service) \
    <(sed -n '/^User=/,$p' /usr/lib/systemd/system/tink-sync@.service)
for unit in tink-sync.service tink-sync@.service tink-sync-failure@.service; do
    check "the exposure of $unit is at most 1.1" systemd-analyze security --offline=true --threshold=11 --no-pager \
        "/usr/lib/systemd/system/$unit"
done
finish
