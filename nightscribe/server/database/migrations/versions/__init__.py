"""The migrations, named after their area and a number."""
