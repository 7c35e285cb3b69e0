#!/usr/bin/env python3
"""A real Slurm on this one machine, for trying and testing: nodes that are processes, GPUs that are names.

    python slurm/one_machine.py up --dir /tmp/one      prints the line that makes sbatch find it
    python slurm/one_machine.py show --dir /tmp/one
    python slurm/one_machine.py down --dir /tmp/one    ends it and removes the directory

Needs the Debian packages of `PACKAGES`; no systemd, no cgroups, no root. Everything (keys, sockets, configuration,
logs, state) lies in the one directory, and only the user who started it can run jobs. Standard library only; it knows
nothing of galaxycgan. Written for Slurm 22.05 and later.
"""

import argparse
import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = "slurm-wlm slurm-wlm-basic-plugins munge"
ACCOUNTING_PACKAGES = "slurmdbd slurm-wlm-mysql-plugin mariadb-server"
INSTALL = f"apt-get install --no-install-recommends {PACKAGES}"
INSTALL_ACCOUNTING = f"apt-get install --no-install-recommends {ACCOUNTING_PACKAGES}"
NEEDED = ("munged", "slurmctld", "slurmd", "sinfo", "squeue", "scancel", "srun")
ACCOUNTING_NEEDED = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacctmgr", "sacct")
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"

#: Longest directory name: a unix socket's path has room for about 100 characters.
LONGEST_NAME = 70

#: Ports for the daemons: above the privileged ones and what is well known, below those dealt out to connections.
PORTS = (10_000, 20_000)

#: What stands for a GPU: Slurm wants a character device for each.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")

CONFIGURATION = """\
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CryptoType=crypto/munge
# A requeued job waits until its old credential has expired: 5 s instead of 120.
AuthInfo=socket={directory}/munge/socket,cred_expire=5
{loopback}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/run/slurmctld.pid
SlurmdPidFile={directory}/run/slurmd.%n.pid
SlurmctldLogFile={directory}/log/slurmctld.log
SlurmdLogFile={directory}/log/slurmd.%n.log
# Without cgroups processes are tracked by descent, and nothing is pinned.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
{accounting}
MaxArraySize={max_array}
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
# A busy machine answers late: no node is given up for that. `lose_node` says itself that a node is down.
SlurmdTimeout=300
KillWait=20
InactiveLimit=0
MinJobAge=300
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PropagateResourceLimits=NONE
GresTypes=gpu
"""


ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={directory}/munge/socket
AccountingStorageEnforce=associations,limits,qos"""

DATABASE_DAEMON = """\
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
LogFile={directory}/log/slurmdbd.log
PidFile={directory}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
"""

#: A database that is thrown away: small, quick, no network.
DATABASE_OPTIONS = (
    "--skip-networking", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900", "--performance-schema=OFF",
)  # fmt: skip


class Cluster:
    """The cluster of one directory.

    Parameters
    ----------
    directory : str or Path
        Short, not there yet or made by an earlier `up`.
    """

    def __init__(self, directory):
        self.directory = Path(directory).resolve()
        self.conf = self.directory / "slurm.conf"
        self.record = self.directory / "daemons.json"

    def up(self, nodes=2, cpus=2, gpus=2, accounting=False, max_array=1001):
        """Bring it up: return when every node is idle.

        Parameters
        ----------
        nodes, cpus, gpus : int
            Nodes, and what each of them pretends to have.
        accounting : bool
            With slurmdbd and a MariaDB of its own: sacct answers, and the QOS ``short`` limits jobs to 10 minutes.
        max_array : int
            MaxArraySize: the largest number of an array's element, and one.
        """
        if missing := [name for name in NEEDED if not shutil.which(name, path=SEARCH)]:
            raise SystemExit(f"not installed: {', '.join(missing)}; {INSTALL}")
        if accounting and (missing := [name for name in ACCOUNTING_NEEDED if not shutil.which(name, path=SEARCH)]):
            raise SystemExit(f"not installed: {', '.join(missing)}; {INSTALL_ACCOUNTING}")
        if len(str(self.directory)) > LONGEST_NAME:
            raise SystemExit(f"{self.directory}: longer than {LONGEST_NAME} characters: too long for unix sockets")
        if self.directory.exists() and any(self.directory.iterdir()):
            raise SystemExit(f"{self.directory}: is not empty; take an old cluster down first")
        for name in ("munge", "state", "spool", "run", "log", "gpu"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            (self.directory / name).chmod(0o755)  # munged refuses directories that others could write to
        self.directory.chmod(0o755)
        self.record.write_text("{}")
        try:
            self._start_munge()
            # Names that resolve: torch takes the first node's name for the address where the ranks meet.
            names = [f"127.0.0.{number + 2}" for number in range(nodes)]
            self._configure(names, cpus, gpus, free_ports(1)[0] if accounting else 0, max_array)
            if accounting:
                self._start_accounting()
            self.start_control()
            for name in names:
                self.start_node(name)
            self._await("nodes", lambda: self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%t") == "idle\n" * nodes)
        except BaseException:
            self.down(keep=True)
            raise

    def _start_munge(self):
        place = self.directory / "munge"
        (place / "key").touch(mode=0o600)
        (place / "key").write_bytes(os.urandom(1024))
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={place / file}" for option, file in files.items()]
        self._start("munged", ["munged", "--foreground", "--num-threads=2", *options])
        self._await("munged", (place / "socket").exists)

    def start_control(self):
        """Start slurmctld: the first time, or again after `stop_control`."""
        self._start("slurmctld", ["slurmctld", "-D", "-f", self.conf])

    def stop_control(self):
        """Kill slurmctld as a crash would."""
        self._kill("slurmctld")

    def start_node(self, name):
        """Start a node's slurmd: the first time, or again after `lose_node`. It takes jobs once it has registered."""
        self._start(f"slurmd.{name}", ["slurmd", "-D", "-N", name, "-f", self.conf])

    def lose_node(self, name):
        """Kill a node's slurmd and all that runs below it, as if its power had failed, and let Slurm know.

        By itself Slurm would find out after SlurmdTimeout; sites' health checks say it at once, as is done here.
        """
        self._kill(f"slurmd.{name}")
        for pid in self._steps(name):
            for child in [pid, *descendants(pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._must("scontrol", "update", f"nodename={name}", "state=down", "reason=power")

    def _kill(self, name):
        pid, start = json.loads(self.record.read_text())[name]
        if started(pid) == start:
            os.kill(pid, signal.SIGKILL)
        while started(pid) == start:
            time.sleep(0.02)

    def _start_accounting(self):
        """Start MariaDB and slurmdbd, and make this user known to them."""
        place = self.directory / "sql"
        place.mkdir()
        user = [f"--user={user_name()}"] if os.getuid() == 0 else []
        words = [f"--datadir={place / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db", *user]
        self._must("mariadb-install-db", "--no-defaults", *words)
        socket_path = place / "s"
        words = [f"--datadir={place / 'data'}", f"--socket={socket_path}", f"--pid-file={place / 'pid'}", *user]
        self._start("mariadbd", ["mariadbd", "--no-defaults", *words, *DATABASE_OPTIONS])
        client = ["mariadb", "--no-defaults", f"--socket={socket_path}", "-uroot", "-e"]
        self._await("mariadbd", lambda: self._run(*client, "select 1").returncode == 0)
        self._must(
            *client, "create database slurm_acct_db; create user slurm@localhost identified by 'slurm';"
            " grant all on slurm_acct_db.* to slurm@localhost;"
        )  # fmt: skip
        self._start("slurmdbd", ["slurmdbd", "-D"], MYSQL_UNIX_PORT=str(socket_path))
        self._await("slurmdbd", lambda: self._run("sacctmgr", "-n", "list", "cluster").returncode == 0)
        me = user_name()
        for command in (
            "add cluster one", "add account lab Description=lab Organization=lab",
            f"add user {me} Account=lab DefaultAccount=lab", "add qos short set MaxWall=00:10:00",
            f"modify user {me} set qos=normal,short DefaultQOS=normal",
        ):  # fmt: skip
            self._run("sacctmgr", "-i", *command.split())

    def _configure(self, names, cpus, gpus, accounting_port, max_array):
        """Write slurm.conf, gres.conf, cgroup.conf, and slurmdbd.conf where there is a port for it."""
        control, *ports = free_ports(len(names) + 1)
        about = {"user": user_name(), "directory": self.directory, "loopback": loopback(), "max_array": max_array}
        accounting = "AccountingStorageType=accounting_storage/none"
        if accounting_port:
            accounting = ACCOUNTING.format(port=accounting_port, **about)
            daemon = self.directory / "slurmdbd.conf"
            daemon.touch(mode=0o600)
            daemon.write_text(DATABASE_DAEMON.format(port=accounting_port, **about))
        lines = [CONFIGURATION.format(port=control, accounting=accounting, **about)]
        gres = []
        for number in range(gpus):
            (self.directory / "gpu" / f"gpu{number}").symlink_to(DEVICES[number % len(DEVICES)])
        for name, port in zip(names, ports, strict=True):
            has = f" Gres=gpu:{gpus}" if gpus else ""
            lines.append(
                f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Sockets=1 "
                f"CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory=4000{has} State=UNKNOWN\n"
            )
            gres += [f"NodeName={name} Name=gpu File={self.directory}/gpu/gpu{number}\n" for number in range(gpus)]
        every = ",".join(names)
        lines += [
            f"PartitionName=main Nodes={every} State=UP Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=10\n",
            f"PartitionName=high Nodes={every} State=UP MaxTime=60 PriorityTier=10 PreemptMode=OFF\n",
        ]
        self.conf.write_text("".join(lines))
        (self.directory / "gres.conf").write_text("".join(gres))
        (self.directory / "cgroup.conf").write_text("CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n")
        for name in names:
            (self.directory / "spool" / name).mkdir()

    def _start(self, name, command, **variables):
        """Start a daemon that outlives this process, with further environment variables, and note it."""
        leaking = ("SLURM_JOB", "SLURM_STEP", "SLURM_PROC", "SUBMITIT")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(leaking)}
        environment |= {"SLURM_CONF": str(self.conf), "PATH": SEARCH} | variables
        with open(self.directory / "log" / f"{name}.out", "ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=self.directory, start_new_session=True,
            )  # fmt: skip
        daemons = json.loads(self.record.read_text())
        daemons[name] = [process.pid, started(process.pid)]
        self.record.write_text(json.dumps(daemons))

    def _await(self, what, ready, patience_s=300.0):
        end = time.monotonic() + patience_s
        while not ready():
            dead = [name for name, (pid, start) in json.loads(self.record.read_text()).items() if started(pid) != start]
            if dead or time.monotonic() > end:
                words = "".join(path.read_text(errors="replace")[-800:] for path in self._logs(dead))
                trouble = f"{', '.join(dead)} ended" if dead else f"not ready after {patience_s:.0f} s"
                raise SystemExit(f"{what}: {trouble}; logs in {self.directory}/log\n{words}")
            time.sleep(0.05)

    def _logs(self, names):
        return [path for name in names for path in (self.directory / "log").glob(f"{name}*")]

    def ask(self, *command):
        """Run a Slurm command on this cluster; return what it prints."""
        return self._run(*command).stdout

    def _run(self, *command):
        environment = os.environ | {"SLURM_CONF": str(self.conf), "PATH": SEARCH}
        return subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=300
        )

    def _must(self, *command):
        told = self._run(*command)
        if told.returncode:
            raise SystemExit(f"{command[0]} failed:\n{told.stdout[-800:]}{told.stderr[-800:]}")

    def down(self, keep=False):
        """End all jobs and daemons; remove the directory unless `keep`."""
        if not self.record.exists():
            raise SystemExit(f"{self.directory}: no cluster of one_machine.py")
        daemons = json.loads(self.record.read_text())
        if "slurmctld" in daemons and started(daemons["slurmctld"][0]) == daemons["slurmctld"][1]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.ask("scancel", "--full", "--signal=KILL", "-u", user_name())
                self.ask("scancel", "-u", user_name())
        for kind in ("slurmd", "slurmctld", "slurmdbd", "mariadbd", "munged"):
            end_processes([daemons[name] for name in daemons if name.split(".")[0] == kind])
        end_processes([[pid, started(pid)] for pid in self._steps()])
        self.record.write_text("{}")
        if not keep:
            shutil.rmtree(self.directory)

    def _steps(self, node=None):
        """Return the slurmstepd of this cluster (of one node): a slurmd that ends leaves its jobs' processes behind."""
        mine = f"SLURM_CONF={self.conf}".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (place / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                is_step = Path(command.rstrip(":")).name.startswith("slurmstepd")
                if is_step and mine in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return [pid for pid in found if node is None or node == node_of(pid)]


def user_name():
    """Return the name of the user of this process."""
    return pwd.getpwuid(os.getuid()).pw_name


def started(pid):
    """Return when a process started, in clock ticks; None: it is gone. Tells it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def descendants(pid):
    """Return the processes below one, children first."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found + [below for child in found for below in descendants(child)]


def node_of(pid):
    """Return the node whose job runs below a process, as the job's environment tells; None for none."""
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            for variable in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
                if variable.startswith(b"SLURMD_NODENAME="):
                    return variable.partition(b"=")[2].decode()
    return None


def end_processes(processes, patience_s=15.0):
    """End processes, given as [pid, start]: ask first, then kill."""

    def living():
        return [pid for pid, start in processes if start is not None and started(pid) == start]

    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + patience_s
        while living() and time.monotonic() < end:
            time.sleep(0.03)


def free_ports(count):
    """Return ports that nobody uses now.

    None that the system deals out by itself: while a daemon is down, its port could become some connection's.
    """
    found = []
    with contextlib.ExitStack() as stack:
        while len(found) < count:
            port, one = random.randrange(*PORTS), stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("", port))
                found.append(port)
    return found


def loopback():
    """Return the line that binds the daemons to what the host's name resolves to, where that is the loopback."""
    with contextlib.suppress(OSError):
        if socket.gethostbyname(socket.gethostname()).startswith("127."):
            return "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"
    return "# The host's name is no loopback address: the daemons listen on all, and munge keeps others out."


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (("up", "bring it up"), ("show", "print nodes and queue"), ("down", "end and remove it")):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--dir", required=True, help="directory of the cluster; a short name")
        if name == "up":
            command.add_argument("--nodes", type=int, default=2)
            command.add_argument("--cpus", type=int, default=2, help="of a node")
            command.add_argument("--gpus", type=int, default=2, help="of a node; they only look like GPUs")
            command.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB: sacct answers")
        if name == "down":
            command.add_argument("--keep", action="store_true", help="leave the directory with the logs")
    values = parser.parse_args(arguments)
    cluster = Cluster(values.dir)
    if values.command == "up":
        cluster.up(values.nodes, values.cpus, values.gpus, values.accounting)
        print(f"export SLURM_CONF={cluster.conf}")
    elif values.command == "show":
        print(cluster.ask("sinfo", "-N", "-l") + cluster.ask("squeue", "-l"), end="")
    else:
        cluster.down(keep=values.keep)


if __name__ == "__main__":
    sys.exit(main())
