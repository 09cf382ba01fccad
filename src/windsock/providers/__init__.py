"""Providers: orchestrators and how Windsock reads them."""
