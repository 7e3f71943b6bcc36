"""The only shared I/O: settings, clock, codecs, Kafka, Redis, Postgres, the worker loop, processes.

Carries what `services.domain` decides; holds no rule of billing itself.
"""
