"""rq-dashboard, made safe to leave running."""
