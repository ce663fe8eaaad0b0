"""Forced alignment from flat start, TextGrids and durations."""
