"""What is wrong, the evidence for it and what to try: one rule a file."""
