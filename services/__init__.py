"""Tollgate: usage metering and billing that counts every event exactly once.

`domain` decides, `runtime` carries, each stage is a thin process between two topics. This package
file must stay empty of code, so that importing one stage never starts another.
"""
