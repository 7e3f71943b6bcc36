"""The parts of the bench, one a file: each measures a few figures and keeps its raw numbers."""
