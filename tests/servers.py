"""Real servers for the tests, on loopback, each in a directory of its own: Redis, HDFS, S3."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class Redis:
    """A redis-server of one's own; `options` as on its command line."""

    def __init__(self, directory, *options, program="redis-server"):
        if shutil.which(program) is None:
            pytest.skip("needs redis-server (Debian: redis-server)")
        self.directory, self.program, self.options = Path(directory), program, options
        self.directory.mkdir(exist_ok=True)
        # a cluster's bus takes the port 10,000 above
        self.port = next(port for port in iter(free_port, None) if port + 10_000 < 65_536)
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory), "--save", ""]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen([self.program, *arguments, *self.options], stdout=log, stderr=log)
        for _ in range(400):
            if self._answers():
                return
            time.sleep(0.025)
            if self.process.poll() is not None:
                break
        self.kill()
        raise RuntimeError((self.directory / "log").read_text())

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self):
        """As when the power goes."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def with_vector_sets(directory):
    """Redis 8, or who else has vector sets, in the directory that REDIS_WHEELS names."""
    return Redis(directory, program=_wheels() / "redis8")


def with_search(directory):
    """A server with Redis search, likewise."""
    return Redis(directory, "--loadmodule", str(_wheels() / "redisearch.so"), program=_wheels() / "redis8")


def _wheels():
    if "REDIS_WHEELS" not in os.environ:
        pytest.skip("needs REDIS_WHEELS, servers out of wheels: see .ci/redis-wheels")
    return Path(os.environ["REDIS_WHEELS"])


class Cluster(Redis):
    """A cluster of one server."""

    def __init__(self, directory):
        super().__init__(directory, "--cluster-enabled", "yes")
        self._cli("addslotsrange", "0", "16383")
        deadline = time.monotonic() + 20
        while b"cluster_state:ok" not in self._cli("info"):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    @property
    def address(self):
        return f"redis+cluster://127.0.0.1:{self.port}"

    def _cli(self, *arguments):
        command = ["redis-cli", "-p", str(self.port), "cluster", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout


class S3:
    """moto's server with one bucket, found through the environment."""

    bucket = "fastals-test"

    def __init__(self, monkeypatch):
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        from pyarrow import fs

        filesystem = fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True)
        filesystem.create_dir(self.bucket)

    def stop(self):
        self.server.stop()


class Hdfs:
    """A NameNode and a DataNode of Hadoop 2.7.3.

    The jars: those of pyspark 2.4.8's source distribution (HADOOP_JARS, `.ci/hadoop-jars` fetches them) and Debian's
    libjersey1-{core,server,servlet,json}-java, libcommons-daemon-java and libjsr311-api-java.
    """

    OPENED = ("java.lang", "java.util", "java.net", "sun.nio.ch", "java.nio")
    DEBIAN = ("jersey1-core", "jersey1-server", "jersey1-servlet", "jersey1-json", "commons-daemon", "jsr311-api")

    def __init__(self, directory):
        jars = os.environ.get("HADOOP_JARS")
        if not jars or shutil.which("java") is None:
            pytest.skip("needs Java and HADOOP_JARS, Hadoop's jars: see .ci/hadoop-jars")
        self.directory, self.port = Path(directory), free_port()
        for name in ("conf", "webapps/hdfs/WEB-INF", "webapps/datanode/WEB-INF"):
            (self.directory / name).mkdir(parents=True)
        for name in ("hdfs", "datanode"):
            (self.directory / "webapps" / name / "WEB-INF" / "web.xml").write_text("<web-app/>")
        settings = {
            "fs.defaultFS": f"hdfs://127.0.0.1:{self.port}",
            "dfs.namenode.name.dir": f"file://{self.directory}/name",
            "dfs.datanode.data.dir": f"file://{self.directory}/data",
            "dfs.replication": "1",
            "dfs.permissions.enabled": "false",
            "dfs.namenode.http-address": "127.0.0.1:0",
            "dfs.datanode.address": "127.0.0.1:0",
            "dfs.datanode.http.address": "127.0.0.1:0",
            "dfs.datanode.ipc.address": "127.0.0.1:0",
            "dfs.datanode.hostname": "127.0.0.1",
            "dfs.namenode.safemode.threshold-pct": "0",
        }
        text = "".join(f"<property><name>{n}</name><value>{v}</value></property>" for n, v in settings.items())
        for name in ("core-site.xml", "hdfs-site.xml"):
            (self.directory / "conf" / name).write_text(f"<configuration>{text}</configuration>")
        debian = [f"/usr/share/java/{name}.jar" for name in self.DEBIAN]
        missing = [jar for jar in debian if not os.path.exists(jar)]
        if missing:
            pytest.skip(f"needs {missing[0]}: see .ci/hadoop-jars")
        class_path = ":".join([str(self.directory / "conf"), str(self.directory), f"{jars}/*", *debian])
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in self.OPENED]
        krb5 = "java.security.jgss/sun.security.krb5=ALL-UNNAMED"
        self.java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", *opened, f"--add-opens={krb5}"]
        self.java += [f"--add-exports={krb5}", "-cp", class_path]
        name_node = "org.apache.hadoop.hdfs.server.namenode.NameNode"
        self.processes = []
        try:
            self._start(name_node, "-format", "-force", "-nonInteractive").wait(60)
            self._start(name_node)
            self._wait_for(self.port)
            self._start("org.apache.hadoop.hdfs.server.datanode.DataNode")
            self._wait_until_written()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self):
        return f"hdfs://127.0.0.1:{self.port}"

    def _start(self, *command):
        with open(self.directory / "log", "ab") as log:
            process = subprocess.Popen([*self.java, *command], stdout=log, stderr=log, cwd=self.directory)
        self.processes.append(process)
        return process

    def _wait_for(self, port):
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise RuntimeError((self.directory / "log").read_text()[-5000:])

    def _wait_until_written(self):
        """Until the DataNode has joined, a file cannot be written."""
        from hdfs_native.fsspec import HdfsFileSystem

        filesystem = HdfsFileSystem("127.0.0.1", self.port)
        for _ in range(120):
            try:
                with filesystem.open("/ready", "wb") as file:
                    file.write(b"yes")
                return
            except Exception as error:
                last = error
                time.sleep(0.5)
        raise RuntimeError((self.directory / "log").read_text()[-5000:]) from last

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
