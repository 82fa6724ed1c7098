"""What all others stand on: the compiled kernels, errors, checks, threads, files."""
