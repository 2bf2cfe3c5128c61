"""The gates: what an article and its pairs must be like, each a small pure function."""
