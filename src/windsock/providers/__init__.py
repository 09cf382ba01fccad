"""The outside world in our words: what an orchestrator gives us, and how each kind is asked."""
