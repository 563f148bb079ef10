"""What the codes are like."""
