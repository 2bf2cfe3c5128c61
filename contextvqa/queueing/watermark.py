"""When to stop filling a queue, and when to go on."""


class Watermark:
    """Holds from the high-water mark until half of it is gone: few long waits, not many short."""

    def __init__(self, high: int) -> None:
        self.high = high
        self.is_holding = False

    def holds(self, depth: int) -> bool:
        """Whether whoever fills a queue of this depth has to wait."""
        self.is_holding = depth > self.high // 2 if self.is_holding else depth >= self.high
        return self.is_holding
