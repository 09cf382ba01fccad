"""Pipelines: the list everybody opens in the morning, and one of them."""
