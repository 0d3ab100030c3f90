"""The queue: SQS through boto3, on AWS or any compatible server."""
