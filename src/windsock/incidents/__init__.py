"""Incidents: opened by failures and other conditions, resolved when they end, and what users do with them."""
