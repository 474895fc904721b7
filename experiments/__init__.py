"""What it earned: design, assignment and measurement of experiments."""
