"""Bricks that methods are built from. A brick takes named values, never a config object."""
