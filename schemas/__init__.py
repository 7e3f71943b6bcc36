"""What two processes agree on: topics, record schemas, the HTTP API and the SQL migrations.

Data files only; code must never grow here.
"""
