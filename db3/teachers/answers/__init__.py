"""What is known already: every answer, kept by its content and found again, so that nothing is sent twice."""
