"""Speech engines behind one protocol, `Recognizer`; each is imported only when it is chosen."""
