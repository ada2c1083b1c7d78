"""Teachers: anything that answers an image with a class."""
