"""What is timed: modules of factories, imported by the workers only."""
