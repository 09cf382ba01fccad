"""Measurements: what Windsock costs, as ratios of one run."""
