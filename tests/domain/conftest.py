"""Hypothesis for the whole run: no deadline (a busy machine is no fault) and the seed printed."""

from hypothesis import settings

settings.register_profile("tollgate", deadline=None, print_blob=True)
settings.load_profile("tollgate")
