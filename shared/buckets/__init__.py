"""Recordings and transcripts in S3: a bucket, what is read from it by the block, what is put there."""
