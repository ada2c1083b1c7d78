"""The front door: from whatever decides, and images or none, to a student. Everything here is composed of the parts
below, in the order in which the pipeline runs its stages.
"""
