"""Where a run stands: counts, funnel, and the commands that show them."""
