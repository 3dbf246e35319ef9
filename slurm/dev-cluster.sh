#!/usr/bin/env bash
# A one-node Slurm cluster on loopback, for tests and for trying the suite where there is no cluster:
#
#   slurm/dev-cluster.sh start [--dir DIR] [--no-accounting] [--conf LINE]...   prints how to make a shell use it
#   slurm/dev-cluster.sh status [--dir DIR]                                     exit status 0 where all of it runs
#   slurm/dev-cluster.sh stop [--dir DIR]                                       ends its jobs and its daemons
#
# --conf adds a line to slurm.conf, say SlurmctldParameters=preempt_send_user_signal.
#
# Run as root, with Debian's packages slurm-wlm and munge, and slurmdbd and mariadb-server for accounting (sacct).
# Everything lies in DIR: by default that of $SLURM_CONF where it is such a cluster's, else a fresh one. A DIR that
# start made is removed by stop. Neither systemd nor cgroups are needed; limits on memory and CPUs are not enforced.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() { echo "dev-cluster: $*" >&2; exit 1; }

# --- programs and processes ------------------------------------------------------------------------------------------

need_programs() {
    local missing='' packages='' program package
    while read -r package program; do
        command -v "$program" >/dev/null && continue
        missing+=" $program"
        [[ " $packages " == *" $package "* ]] || packages+=" $package"
    done < <(
        printf '%s\n' 'munge munged' 'slurm-wlm sbatch' 'slurm-wlm srun' 'slurm-wlm slurmctld' 'slurm-wlm slurmd'
        ! accounting || printf '%s\n' 'slurmdbd slurmdbd' 'mariadb-server mariadbd' 'mariadb-server mariadb-install-db'
    )
    [ -z "$missing" ] || die "missing:$missing; on Debian: apt-get install --no-install-recommends$packages"
}

accounting() { [ "$with_accounting" = yes ]; }

daemons() {  # in the order in which they start
    echo munged
    ! accounting || printf '%s\n' mariadbd slurmdbd
    printf '%s\n' slurmctld slurmd
}

# A dead child stays as a zombie where the first process of a container collects none.
runs() { grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

# Is process $1 the program $2 of this cluster? A process id alone may have gone to another program since.
is_ours() {
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && runs "$1" &&
        grep -qzxF "SLURM_CONF=$SLURM_CONF" "/proc/$1/environ" 2>/dev/null
}

pid_of() { cat "$dir/run/$1.pid" 2>/dev/null; }

alive() { local pid; pid=$(pid_of "$1") && is_ours "$pid" "$1"; }

any_alive() { local name; for name in $(daemons); do ! alive "$name" || return 0; done; return 1; }

# launch NAME COMMAND...: in a session of its own, so that Ctrl-C in the caller's terminal does not reach it.
launch() {
    local name=$1; shift
    setsid "$@" </dev/null >>"$dir/log/$name.out" 2>&1 &
    echo $! >"$dir/run/$name.pid"
}

# until_works SECONDS NAME COMMAND...: waits for the command; gives up with NAME's log, at once where NAME has died.
until_works() {
    local end=$((SECONDS + $1)) name=$2; shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || give_up "$name did not answer in time"
        runs "$(pid_of "$name")" || give_up "$name ended"
        sleep 0.2
    done
}

give_up() {
    local name=${1%% *}
    { echo "dev-cluster: $1; the end of $dir/log/$name.out:"; tail -n 8 "$dir/log/$name.out"; } >&2
    stop_processes
    exit 1
}

# --- settings --------------------------------------------------------------------------------------------------------

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {  # below the range from which the kernel gives out ports by itself
    local port
    while :; do
        port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
        [[ " $ports_taken " == *" $port "* ]] || listening "$port" || break
    done
    ports_taken+=" $port"
    free=$port
}

host_address() { getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }'; }

write_slurm_conf() {
    local address memory binding=''
    # Daemons bind to what the host's own name resolves to or else to every address; Debian's name may be 127.0.1.1.
    address=$(host_address) || address=''
    case $address in
        127.*) binding=CommunicationParameters=NoInAddrAny,NoCtldInAddrAny ;;
        *) address=127.0.0.1 ;;
    esac
    memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
    free_port; local ctld_port=$free
    free_port; local slurmd_port=$free
    cat >"$SLURM_CONF" <<CONF
ClusterName=dev
SlurmctldHost=$host($address)
SlurmctldPort=$ctld_port
SlurmdPort=$slurmd_port
$binding
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that goes back to the queue waits for the life of a credential before it starts again, 120 s by default. It
# must be longer than KillWait + 2 s: after a node failure a task that is still ending would drain the node.
AuthInfo=socket=$dir/munge/socket,cred_expire=8
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/run/slurmctld.own-pid
SlurmdPidFile=$dir/run/slurmd.own-pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log

# No cgroups in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2

# Starts what it can within a second, and is quick to end what must go.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
KillWait=3
MinJobAge=300
SlurmdTimeout=30
JobRequeue=1

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE

$(accounting_settings)

# More CPUs than the machine may have, so that several jobs of one CPU run at once.
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=$address CPUs=8 RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=preempt Nodes=$host MaxTime=INFINITE DefaultTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=4
$extra_conf
CONF
}

accounting_settings() {
    accounting || { echo 'AccountingStorageType=accounting_storage/none'; return; }
    cat <<CONF
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd_port
AccountingStoragePass=$dir/munge/socket
CONF
}

write_accounting_conf() {
    local password
    password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    free_port; dbd_port=$free
    free_port; db_port=$free
    (umask 077
    cat >"$dir/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$db_port
StorageUser=slurm
StorageLoc=slurm_acct
StoragePass=$password
LogFile=$dir/log/slurmdbd.log
PidFile=$dir/run/slurmdbd.own-pid
CONF
    cat >"$dir/db-init.sql" <<SQL
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE OR REPLACE USER slurm@'%' IDENTIFIED BY '$password';
GRANT ALL ON slurm_acct.* TO slurm@'%';
SQL
    )
}

write_settings() {
    ports_taken=''
    rm -f "$dir/slurmdbd.conf"
    mkdir -p "$dir"/{run,log,state,spool,munge}
    ! accounting || write_accounting_conf
    write_slurm_conf
}

# --- daemons ---------------------------------------------------------------------------------------------------------

as_munge=(--reuid=munge --regid=munge --init-groups)

start_munged() {
    if [ ! -e "$dir/munge/key" ]; then
        (umask 077; head -c 128 /dev/urandom >"$dir/munge/key")
        chown -R munge: "$dir/munge"
    fi
    launch munged setpriv "${as_munge[@]}" munged --foreground --num-threads=4 \
        --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    until_works 20 munged eval "munge --no-input --socket='$dir/munge/socket' | unmunge --socket='$dir/munge/socket'"
}

start_mariadbd() {
    local options=(--no-defaults --user=root --datadir="$dir/db")
    [ -d "$dir/db/mysql" ] || mariadb-install-db "${options[@]}" --skip-test-db >>"$dir/log/mariadbd.out" 2>&1 ||
        give_up 'mariadbd could not make its tables'
    launch mariadbd mariadbd "${options[@]}" --bind-address=127.0.0.1 --port="$(conf_value slurmdbd StoragePort)" \
        --socket="$dir/db/socket" --pid-file="$dir/db/pid" --init-file="$dir/db-init.sql" \
        --performance-schema=OFF --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0
    until_works 60 mariadbd listening "$(conf_value slurmdbd StoragePort)"
}

start_slurmdbd() {
    launch slurmdbd slurmdbd -D
    # slurmctld does not start while the accounting does not know its cluster.
    until_works 60 slurmdbd sacctmgr -n list cluster
    [ -n "$(sacctmgr -nP list cluster)" ] || sacctmgr -iQ add cluster dev >>"$dir/log/slurmdbd.out" 2>&1 ||
        give_up 'slurmdbd took no cluster'
}

start_slurmctld() {
    launch slurmctld slurmctld -D -f "$SLURM_CONF"
    until_works 30 slurmctld scontrol ping
}

start_slurmd() {
    launch slurmd slurmd -D -f "$SLURM_CONF"
    until_works 30 slurmd node_is_up
}

conf_value() { sed -n "s/^$2=//p" "$dir/$1.conf"; }

node_is_up() { sinfo -h -o %T | grep -qE '^(idle|mixed|allocated)$'; }

start() {
    local name
    [ "$(id -u)" = 0 ] || die 'start needs root: the daemons run jobs for any user'
    need_programs
    make_dir
    if ! any_alive; then
        write_settings
    elif [ "$([ -e "$dir/slurmdbd.conf" ] && echo yes || echo no)" != "$with_accounting" ]; then
        die "the cluster in $dir runs with other accounting; stop it first"
    fi
    for name in $(daemons); do alive "$name" || "start_$name"; done
    ! accounting || until_works 30 slurmctld sacct -n
    echo "# A Slurm cluster of one node runs in $dir; to use it, and to end it:"
    echo "export SLURM_CONF=$SLURM_CONF"
    echo "# $0 stop --dir $dir"
}

make_dir() {
    if [ -z "$dir" ]; then
        use_dir "$(mktemp -d -t slurm-dev-XXXXXX)"
        touch "$dir/$made_by_start"
    elif [ ! -e "$dir" ]; then
        mkdir -p "$dir"
        touch "$dir/$made_by_start"
    elif [ ! -e "$SLURM_CONF" ] && [ -n "$(ls -A "$dir")" ]; then
        die "$dir is not empty and holds no cluster of this script"
    fi
    # munged runs as its own user and must reach its files; what is secret in here is closed by itself.
    chmod go+x "$dir"
    setpriv "${as_munge[@]}" test -x "$dir" ||
        die "$dir lies in a folder that the user munge may not enter; choose another"
    [ ${#dir} -le 80 ] || die "$dir is too long a path for Unix sockets; choose one of at most 80 characters"
}

status() {
    local name all=0
    for name in $(daemons); do
        if alive "$name"; then echo "$name runs ($(pid_of "$name"))"; else echo "$name does not run"; all=1; fi
    done
    if [ $all = 0 ]; then sinfo; fi
    return $all
}

# --- the end ---------------------------------------------------------------------------------------------------------

stop() {
    stop_processes
    [ ! -e "$dir/$made_by_start" ] || rm -rf "$dir"
}

# Jobs first: what supervises them outlives slurmd.
stop_processes() {
    local name
    if alive slurmctld && alive slurmd; then cancel_jobs; fi
    for name in $(daemons | tac); do end_daemon "$name"; done
    end_leftovers
}

cancel_jobs() {
    local jobs end=$((SECONDS + 15))
    jobs=$(timeout 10 squeue -h -o %A | sort -u) || return 0
    [ -n "$jobs" ] || return 0
    # shellcheck disable=SC2086  # one word per job
    timeout 10 scancel $jobs || return 0
    while [ $SECONDS -lt $end ] && [ -n "$(timeout 10 squeue -h)" ]; do sleep 0.3; done
}

end_daemon() {
    local pid end=$((SECONDS + 20))
    alive "$1" || return 0
    pid=$(pid_of "$1")
    kill "$pid"
    while is_ours "$pid" "$1"; do
        [ $SECONDS -lt $end ] || kill -KILL "$pid" 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$dir/run/$1.pid"
}

# Where a daemon had died, jobs may still run under their supervisors.
end_leftovers() {
    local process pid end=$((SECONDS + 10))
    killed=()
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        ! is_ours "$pid" slurmstepd || kill_tree "$pid"
    done
    # A busy machine takes a moment to end what was killed.
    for pid in "${killed[@]}"; do
        while [ $SECONDS -lt $end ] && grep -q '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2>/dev/null; do sleep 0.1; done
    done
}

kill_tree() {
    local child
    kill -STOP "$1" 2>/dev/null || return 0
    for child in $(grep -lxE "PPid:[[:space:]]*$1" /proc/[0-9]*/status 2>/dev/null); do
        child=${child#/proc/}
        kill_tree "${child%/status}"
    done
    kill -KILL "$1" 2>/dev/null || true
    killed+=("$1")
}

# --- command line ----------------------------------------------------------------------------------------------------

usage() { die "usage: $0 start|stop|status [--dir DIR] [--no-accounting] [--conf LINE]"; }

use_dir() { dir=$1; export SLURM_CONF=$dir/slurm.conf; }

made_by_start=.made-by-dev-cluster
host=$(hostname -s)
with_accounting=yes
command=${1:-}
[ $# = 0 ] || shift
dir=''
extra_conf=''
while [ $# -gt 0 ]; do
    case $1 in
        --dir) [ -n "${2:-}" ] || usage; use_dir "$(realpath -m "$2")"; shift 2 ;;
        --no-accounting) with_accounting=no; shift ;;
        --conf) [ -n "${2:-}" ] || usage; extra_conf+=$2$'\n'; shift 2 ;;
        *) usage ;;
    esac
done
if [ -z "$dir" ] && [ -e "$(dirname "${SLURM_CONF:-/nowhere/}")/run/slurmctld.pid" ]; then
    use_dir "$(dirname "$SLURM_CONF")"
fi
case $command in
    start) start ;;
    stop | status)
        [ -n "$dir" ] || die "name the cluster: $0 $command --dir DIR, or set SLURM_CONF"
        [ -e "$SLURM_CONF" ] || { [ "$command" = stop ] && exit 0; die "no cluster in $dir"; }
        [ -e "$dir/slurmdbd.conf" ] || with_accounting=no
        "$command" ;;
    *) usage ;;
esac
