"""Apiframe jobs in a DuckDB warehouse."""
