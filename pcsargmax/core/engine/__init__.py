"""How the core draws its samples: a cache-sized part at a time on a CPU, by kernels on a GPU."""
