"""Hostile clients and connectors: what they cost everybody else."""
