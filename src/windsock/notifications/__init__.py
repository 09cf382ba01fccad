"""Notifications: rules choose which incidents are announced where, and an outbox delivers the messages."""
