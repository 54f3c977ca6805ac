"""Shape letters, errors and exit codes, registries, trees by name, matmul."""
