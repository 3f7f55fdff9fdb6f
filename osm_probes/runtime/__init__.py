"""What both programs share: start, judge process, Events on the own pod, stop."""
