"""Answers that were paid for, kept and read again."""
