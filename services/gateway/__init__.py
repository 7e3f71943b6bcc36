"""The gateway: POST /v1/ingest to usage.raw. Owns what a request may hold; depends on Kafka alone
and never answers 200 before every event is acknowledged.
"""
