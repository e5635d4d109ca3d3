"""What watching costs: trainings that are timed, with and without."""
