"""speechrep: learn, compare and use representations of speech."""

__version__ = "0.1.0"
