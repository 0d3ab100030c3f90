"""What is counted and traced, and how Prometheus and OpenTelemetry get it."""
