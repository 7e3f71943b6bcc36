"""What operators run: lag, tokens, first-time set-up. Reads the stages' outputs; never writes a
topic or a position.
"""
