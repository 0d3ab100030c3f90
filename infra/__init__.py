"""What a deployment needs; `create_queue.json` is read by the code and by the AWS CLI alike."""
