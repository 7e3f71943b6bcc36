"""Tests of the embedded stack, on real servers wherever a server is what is in doubt."""
