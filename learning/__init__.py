"""What is learned, beside what people would use instead: ``python -m learning``."""
