"""The audit trail: what people changed in a space, as the database wrote it down."""
