"""Decisions, pure: the standard library only, no clock, no environment, no log, no float, no I/O.

Nothing here may import from outside `services.domain`.
"""
