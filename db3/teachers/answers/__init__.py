"""What is known already: answers, kept on the disk and read again, so that nothing is sent twice."""
