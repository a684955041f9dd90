"""The directions of a surface, and the path of training relative to its plane.

gaussian      directions from a seed, and their normalisation
components    principal components of the states of a training
trajectory    the path of training: distances, and coordinates in a plane
"""
