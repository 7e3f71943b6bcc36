"""Pricing: one file a rule, and `invoice.py` for the order in which they apply. Pure and exact."""
