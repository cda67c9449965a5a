"""The public Python interface: `rotelab.Lab` and what it gives. Its names stay; others may move."""
