"""Rows that a provider answers in batches: put together, sent, followed, and read like any other answer."""
