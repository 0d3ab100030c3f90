"""Tell other programs what has happened, by signed requests to their URLs (Standard Webhooks 1.0.0)."""
