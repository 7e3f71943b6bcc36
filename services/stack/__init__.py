"""The embedded stack: real Kafka, Redis and PostgreSQL and the stages, on one machine, no Docker.

For a first look, for development and for tests. Never for production: one copy of everything, on
127.0.0.1 only. No stage imports this package.
"""
