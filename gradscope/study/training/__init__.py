"""Training of trials, watched, and what each leaves on disk."""
