"""Saved views of the pipeline list: filters and order under a name, private or shared with the space."""
