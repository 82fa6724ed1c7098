"""Builds the one extension; everything else stands in pyproject.toml."""

import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    """Compiler flags by compiler; the instruction sets are switched on inside the kernel files, never here."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            compile_args, link_args = ["/O2", "/std:c11", "/openmp"], []
        else:
            # contract: a*b+c may become one FMA; errno: sqrt may become one instruction
            compile_args = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden"]
            compile_args += ["-Wall", "-Wextra"]
            if sys.platform == "darwin":
                compile_args, link_args = [*compile_args, "-Xpreprocessor", "-fopenmp"], ["-lomp"]
            else:
                compile_args, link_args = [*compile_args, "-fopenmp"], ["-fopenmp"]
        for extension in self.extensions:
            extension.extra_compile_args = compile_args
            extension.extra_link_args = link_args
        super().build_extensions()


setup(
    ext_modules=[
        Extension(
            "fastals._core.kernels",
            sources=["fastals/_core/kernels.pyx", *sorted(f for f in glob("src_c/*/*.c") if not f.endswith(".inc.c"))],
            depends=sorted(glob("src_c/*/*")),
            include_dirs=["src_c"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
