"""Scores: plain functions on plain values."""
