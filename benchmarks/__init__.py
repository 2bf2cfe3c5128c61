"""Each figure of the documentation is one command here."""
