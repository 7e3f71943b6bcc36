"""The real stages under a seeded scheduler: every fault at every point, and the same run again from
the same seed. Never asks the wall clock, never sleeps.
"""
