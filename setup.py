"""Builds the two extensions; everything else stands in pyproject.toml."""

import sys
from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class BuildExt(build_ext):
    """Compiler flags by compiler; the instruction sets are switched on inside the kernel files, never here."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or True  # as many at a time as there are processors

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "msvc":
            compile_args, link_args = ["/O2", "/std:c11", "/openmp"], []
        else:
            # contract: a*b+c may become one FMA; errno: sqrt may become one instruction
            compile_args = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden"]
            compile_args += ["-g0", "-Wall", "-Wextra"]  # debug information is twice the wheel
            if sys.platform == "darwin":
                compile_args, link_args = [*compile_args, "-Xpreprocessor", "-fopenmp"], ["-lomp"]
            else:
                compile_args, link_args = [*compile_args, "-fopenmp"], ["-fopenmp"]
        for extension in self.extensions:
            extension.extra_compile_args = compile_args
            extension.extra_link_args = link_args
        # before the extensions are compiled side by side: Cython is not made for threads
        translated = cythonize(self.extensions, force=self.force or None)
        for extension, in_c in zip(self.extensions, translated, strict=True):
            extension.sources = in_c.sources
        super().build_extensions()


def extension(name: str, *folders: str) -> Extension:
    """``fastals._core.<name>`` with the C code of folders of src_c/."""
    sources = [path for folder in folders for path in sorted(glob(f"src_c/{folder}/*.c"))]
    return Extension(
        f"fastals._core.{name}",
        sources=[f"fastals/_core/{name}.pyx", *(path for path in sources if not path.endswith(".inc.c"))],
        depends=sorted([*glob("fastals/_core/*.pxi"), *glob("src_c/*/*")]),
        include_dirs=["src_c"],
    )


setup(
    ext_modules=[extension("kernels", "isa"), extension("tables", "data", "neighbours")],
    cmdclass={"build_ext": BuildExt},
)
