"""Corpora on disk and in memory: Kaldi data folders, audio, features, text, batches."""
