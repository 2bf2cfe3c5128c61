"""`contextvqa doctor`: is everything in place."""
