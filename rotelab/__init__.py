"""rotelab: watch a language model learn by rote first and understand afterwards.

An implementation of "Rote Learning Considered Useful" (arXiv 2507.21914).
"""

__version__ = "0.1.0"
