"""Log lines: what they tell, as text or as JSON, and how all that a process prints becomes JSON."""
