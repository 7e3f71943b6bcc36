"""The projector: usage.rated to PostgreSQL, and drafts from what is there. Owns positions,
aggregates and invoices; never looks at an event.
"""
