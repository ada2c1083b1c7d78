"""Every parameter, declared once: name, type, range, meaning and default. Nothing here imports torch.

A group of the pipeline's params.yaml is one of these classes; the library's functions take the same classes, or ones
that extend them by what no file sets.
"""
