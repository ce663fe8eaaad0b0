"""The training engine: it knows the contract of a method and imports none."""
