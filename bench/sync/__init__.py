"""The scale lab of the sync: large Airflows, real and in memory."""
