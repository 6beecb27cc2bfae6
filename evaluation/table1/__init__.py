"""Homography accuracy of local features under scaling, rotation, perspective and translation, one at a time."""
