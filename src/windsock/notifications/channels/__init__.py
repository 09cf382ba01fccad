"""Channels: one module for each kind of receiver, behind the protocol of base.py."""
