"""Dedup: usage.raw to usage.unique. Owns the verdict on every raw offset and the Redis index;
never looks into what an event is worth.
"""
