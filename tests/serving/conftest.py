"""What all tests of serving use: a server, a model."""

import pytest
from served import connection, fit
from servers import Cluster, Redis


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def url(server):
    client = connection(server.url)
    client.flushall()
    client.close()
    return server.url


@pytest.fixture(scope="session")
def cluster_server(tmp_path_factory):
    server = Cluster(tmp_path_factory.mktemp("cluster"))
    yield server
    server.stop()


@pytest.fixture
def cluster(cluster_server):
    """An empty cluster."""
    client = connection(cluster_server.url)
    client.flushall()
    client.close()
    return cluster_server


@pytest.fixture(scope="session")
def model():
    return fit()
