"""Jobs in Redis: queues, the concurrent rq worker that takes from them, and all that it needs."""
