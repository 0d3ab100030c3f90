"""This process and those around it: which are alive, what they may use, and signs of life."""
