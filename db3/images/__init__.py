"""Made images: every one a function of (seed, its number) and, where it varies others, of these."""
