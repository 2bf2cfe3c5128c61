"""Each figure that the documentation gives for speed is one command here."""
