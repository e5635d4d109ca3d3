"""What becomes of what hooks saw: worked out beside the training, made into rows, written."""
