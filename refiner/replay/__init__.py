"""Judging the raw texts of a run anew, on all cores."""
