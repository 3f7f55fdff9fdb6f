"""What both programs share: how they start, say what they are, and stop."""
