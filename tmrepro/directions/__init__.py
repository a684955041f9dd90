"""The directions in which a surface is drawn, and the path of training seen from their planes.

gaussian      directions from a seed, and the ways of scaling them
components    principal components of the states of a training
trajectory    the path of training: distances, and places in a plane
"""
