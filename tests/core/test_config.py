"""What runs here, and the instruction set that FASTALS_ISA chooses."""

import os
import subprocess
import sys

import pytest

import fastals
from fastals._core import config as _config
from fastals._core import kernels


def start(isa: str) -> subprocess.CompletedProcess[str]:
    """A fresh process that imports fastals under this FASTALS_ISA and says what it got."""
    program = "import fastals; print(fastals.show_config()['isa'])"
    environment = os.environ | {"FASTALS_ISA": isa}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("isa", kernels.available_isas())
def test_the_environment_chooses_the_instruction_set(isa: str) -> None:
    result = start(isa)
    assert (result.returncode, result.stdout.strip()) == (0, isa), result.stderr


def test_without_a_choice_it_is_the_fastest() -> None:
    result = start("")
    assert result.stdout.strip() == kernels.available_isas()[-1], result.stderr


@pytest.mark.parametrize("isa", ["avx512", "X86_V3", "neon, generic"])
def test_an_unknown_instruction_set_is_an_error_that_names_the_known(isa: str) -> None:
    result = start(isa)
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert "ParameterError: the environment variable FASTALS_ISA must be one of generic" in message
    assert message.endswith(f"here, got {isa!r}")


def test_a_refused_choice_changes_nothing() -> None:
    before = kernels.active_isa()
    with pytest.raises(fastals.ParameterError, match=r"FASTALS_ISA must be one of .* here, got 'avx512'"):
        _config.choose_isa("avx512")
    assert kernels.active_isa() == before


def test_show_config() -> None:
    config = fastals.show_config()
    assert config["fastals"] == fastals.__version__
    assert config["python"] == ".".join(map(str, sys.version_info[:3]))
    assert config["isa"] == kernels.active_isa()
    assert config["isa_available"][0] == "generic"
    assert config["num_threads"] >= 1
    assert {"numpy", "scipy", "platform"} <= set(config)
    assert all(library["user_api"] == "blas" for library in config["blas"])
    assert config["blas"]
    assert all(library["user_api"] == "openmp" for library in config["openmp"])
    assert config["openmp"]
