"""Benchmarks: ours beside its peers, in one run, on one core. Figures of different runs do not compare; ratios do."""
