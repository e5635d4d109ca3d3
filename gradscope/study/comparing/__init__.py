"""What the trials of a study show, as tables."""
