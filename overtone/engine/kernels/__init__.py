"""The engine's compiled steps over quantised weights."""
