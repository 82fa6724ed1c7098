"""A standalone cluster of Spark on loopback, and driver programs: each a process, so that there may be many sessions.

Linux only: processes are found in /proc.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pyspark
from servers import free_port

import fastals

HOME = Path(pyspark.__file__).parent
CODE = os.pathsep.join([str(Path(fastals.__file__).parents[1]), str(Path(__file__).parents[1])])
"""PYTHONPATH of those who run what is tested here, and what tests define."""

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Java that starts sooner, and is slower in the end."""

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": QUICK,
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "4",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def environment(**more):
    """That of this process, without what would tell Spark of another place; ``None``: nothing."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_", "PYTHON"))}
    mine |= {"SPARK_HOME": str(HOME), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable, **more}
    return {name: value for name, value in mine.items() if value is not None}


# ---------------------------------------------------------------------------------------------------------------------
# processes


def processes():
    """Parent, session and command line of all that run."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if state != "Z":
            found[int(entry.name)] = (int(parent), int(session), command)
    return found


def family(pid):
    """A process and all below it."""
    found, parents = [pid], {child: parent for child, (parent, _, _) in processes().items()}
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def kill(pids):
    """As when the power goes."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 30
    while processes().keys() & set(pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(command, **options):
    """A process that heads a session: Python's workers leave their group, but not that."""
    return subprocess.Popen(command, start_new_session=True, **options)


def end(process):
    """Kill a process that heads a session, and all that are of it."""
    while members := [pid for pid, (_, session, _) in processes().items() if session == process.pid]:
        kill(members)
    process.wait()


# ---------------------------------------------------------------------------------------------------------------------
# programs

HEAD = """\
import json, sys
from pyspark.sql import SparkSession

def tell(value):
    print(json.dumps(value, default=lambda each: each.tolist()), flush=True)

def hear():
    return json.loads(input())

{before}
spark = SparkSession.builder.{where}.config(map={settings!r}).getOrCreate()
"""


class Program:
    """A program that has a session ``spark``, in a process of its own.

    It may ``tell(value)`` what JSON can say, or NumPy's arrays, and ``hear()`` what is said to it.

    Parameters
    ----------
    text : str
        Python.
    directory : Path
        Where its files may be; its output stays there as long as the directory.
    where : str
        ``master('local[2]')``, or ``remote('local[2]')`` for Spark Connect.
    """

    def __init__(self, text, directory, where, settings, *, seconds=300, **variables):
        self.directory = Path(directory) / f"program-{time.monotonic_ns()}"
        self.directory.mkdir(parents=True)
        path, self.log = self.directory / "program.py", self.directory / "log"
        local = {"spark.local.dir": str(self.directory), "spark.sql.warehouse.dir": str(self.directory / "warehouse")}
        settings, before = {**SETTINGS, **local, **settings}, ""
        if where.startswith("remote('local"):  # whose port is a fixed one: two such programs would be one too many
            settings["spark.connect.grpc.binding.port"] = port = str(free_port())
            before = f"DefaultChannelBuilder.default_port = staticmethod(lambda: {port})"
            before = f"from pyspark.sql.connect.client import DefaultChannelBuilder\n{before}"
        head = HEAD.format(where=where, settings=settings, before=before)
        path.write_text(head + textwrap.dedent(text), encoding="utf-8")
        pipe = subprocess.PIPE
        with open(self.log, "wb") as log:
            self.process = started(
                [sys.executable, str(path)],
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                text=True,
                cwd=self.directory,
                env=environment(**{"PYTHONPATH": CODE, **variables}),
            )
        self.alarm = threading.Timer(seconds, end, [self.process])
        self.alarm.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.alarm.cancel()
        end(self.process)
        self.process.stdin.close()
        self.process.stdout.close()

    def told(self):
        """What it tells next."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the program has ended:\n{self.log.read_text(errors='replace')[-8000:]}")
        return json.loads(line)

    def say(self, value):
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def result(self):
        """What it tells last, once it has ended well."""
        lines = self.process.stdout.readlines()
        if self.process.wait():
            raise RuntimeError(f"the program has failed:\n{self.log.read_text(errors='replace')[-8000:]}")
        return json.loads(lines[-1])


def run(text, directory, where, settings=None, **options):
    """What a program tells last."""
    with Program(text, directory, where, settings or {}, **options) as program:
        return program.result()


def run_connected(text, directory, settings=None, **options):
    """The same over Spark Connect: a server that runs two tasks at a time."""
    return run(text, directory, "remote('local[2]')", settings, **options)


# ---------------------------------------------------------------------------------------------------------------------
# the cluster


class Cluster:
    """One master and its workers, each of which has one executor of a program.

    Executors run this Python, with nothing in their PYTHONPATH but what a program sets.

    Parameters
    ----------
    directory : Path
        For all that is written; it goes when the cluster is stopped.
    workers, cores : int
        How many workers, and cores of each.
    memory : str
        Of each executor.
    """

    def __init__(self, directory, *, workers=2, cores=1, memory="1g", java=QUICK):
        self.directory, self.memory, self.java = Path(directory), memory, java
        self.directory.mkdir(parents=True, exist_ok=True)
        self.master, self.workers = None, []
        try:
            self.master = self._start("master", "master.Master", "--host", "127.0.0.1", "--port", "0")
            self.url = self._wait_for("master", "Starting Spark master at ").split()[0]
            for i in range(workers):
                arguments = ["--host", "127.0.0.1", "--port", "0", "--cores", str(cores), "--memory", memory]
                arguments += ["--work-dir", str(self.directory / f"work-{i}"), self.url]
                self.workers.append(self._start(f"worker-{i}", "worker.Worker", *arguments))
            for i in range(workers):
                self._wait_for(f"worker-{i}", "Successfully registered with master ")
        except BaseException:
            self.stop()
            raise

    def _start(self, name, java_class, *arguments):
        command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{java_class}", "--webui-port", "0"]
        variables = environment(
            SPARK_DAEMON_JAVA_OPTS=f"{QUICK} -Dspark.master.rest.enabled=false",
            SPARK_DAEMON_MEMORY="256m",
            SPARK_LOCAL_DIRS=str(self.directory / "local"),
        )
        with open(self.directory / f"{name}.log", "wb") as log:
            return started([*command, *arguments], stdout=log, stderr=log, cwd=self.directory, env=variables)

    def _wait_for(self, name, message):
        """What follows a message in a log."""
        deadline = time.monotonic() + 120
        while True:
            log = (self.directory / f"{name}.log").read_text(errors="replace")
            before, found, after = log.partition(message)
            if found and "\n" in after:
                return after
            if time.monotonic() > deadline:
                raise RuntimeError(before[-8000:])
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for process in [self.master, *self.workers]:
            if process is not None:
                end(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def program(self, text, settings=None, **options):
        """A :class:`Program` whose executors find the code under test, unless settings say otherwise."""
        mine = {
            "spark.executor.extraJavaOptions": self.java,
            "spark.executor.memory": self.memory,
            "spark.driver.extraJavaOptions": self.java,
            "spark.executorEnv.PYTHONPATH": CODE,
        }
        return Program(text, self.directory, f"master({self.url!r})", {**mine, **(settings or {})}, **options)

    def run(self, text, settings=None, **options):
        """What a program tells last."""
        with self.program(text, settings, **options) as program:
            return program.result()

    def executor(self, i):
        """Processes of the executor that the i-th worker has now: Java, then Python; none as long as none has begun."""
        session = self.workers[i].pid
        for pid, (_, of, command) in processes().items():
            if of == session and "CoarseGrainedExecutorBackend" in command:
                return family(pid)
        return []

    def kill_executor(self, i):
        """kill -9 to Java and to its Python workers; the worker starts another executor. Returns the pids."""
        pids = self.executor(i)
        assert pids, f"worker {i} has no executor"
        kill(pids)
        return pids
