"""Metrics of related papers on memorisation: pure functions of answers and numbers."""
