"""The queue: SQS through boto3, whichever server speaks it."""
