"""What the tests share: real servers, real speech, and patience."""
