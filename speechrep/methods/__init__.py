"""One file a paper. `method: NAME` in a configuration imports `speechrep/methods/NAME.py`."""
