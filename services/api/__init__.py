"""The control plane and the reads: customers, metrics, plans, usage, invoices, as Metronome's API.

Takes no usage (the gateway does) and computes no amount (pricing does); it changes the catalog, one
transaction a change, and shows what the projector wrote.
"""
