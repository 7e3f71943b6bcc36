"""Replay: counts the log again, with the stages' own code, into a generation of its own beside the
live one; compares, promotes, rolls back, drops. Never uses the live index of ids, never writes a
topic, never changes a finalized invoice.
"""
