"""What runs here: the instruction set, its override, and the facts that a bug report needs."""

import os
import platform
from typing import Any

from . import kernels
from .errors import ParameterError
from .names import __version__
from .threads import resolve_num_threads


def choose_isa(name: str) -> None:
    """Switch the kernels to the instruction set that ``FASTALS_ISA`` names; an empty name leaves the fastest.

    Raises
    ------
    ParameterError
        If this build or this machine does not have it.
    """
    if name and not kernels.use_isa(name):
        available = ", ".join(kernels.available_isas())
        raise ParameterError(f"the environment variable FASTALS_ISA must be one of {available} here, got {name!r}")


choose_isa(os.environ.get("FASTALS_ISA", ""))


def show_config() -> dict[str, Any]:
    """Return versions, the instruction set chosen and those available, threads, BLAS and OpenMP.

    Returns
    -------
    dict
        ``fastals``, ``python``, ``numpy``, ``scipy`` : str
            Versions.
        ``platform`` : str
        ``isa`` : str
            The instruction set in use: "generic", "x86_v3", "x86_v4" or "neon". The environment variable
            ``FASTALS_ISA`` chooses another.
        ``isa_available`` : list of str
            What this build holds and this machine can run, slowest first.
        ``num_threads`` : int
            What ``num_threads=None`` means here.
        ``blas``, ``openmp`` : list of dict
            The libraries that this process has loaded, as threadpoolctl reports them.

    Examples
    --------
    >>> import fastals
    >>> config = fastals.show_config()
    >>> config["isa"] in config["isa_available"]
    True
    """
    import numpy
    import scipy
    from threadpoolctl import threadpool_info

    libraries = threadpool_info()
    return {
        "fastals": __version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": platform.platform(),
        "isa": kernels.active_isa(),
        "isa_available": kernels.available_isas(),
        "num_threads": resolve_num_threads(None),
        "blas": [library for library in libraries if library["user_api"] == "blas"],
        "openmp": [library for library in libraries if library["user_api"] == "openmp"],
    }
