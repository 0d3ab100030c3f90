"""Recordings and transcripts in S3 buckets."""
