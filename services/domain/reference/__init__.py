"""The oracle: the whole pipeline once more, as one plain fold over (records, catalog).

Slow, obvious and independent; every amount is a Fraction. It shares plain types with the pipeline
and nothing that decides: whoever imports one of its functions here makes the comparison worthless
(a test holds that).
"""
