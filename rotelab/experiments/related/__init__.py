"""Instruments of related papers on memorisation, one file each; see `rotelab.experiments`."""
