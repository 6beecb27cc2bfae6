"""The metrics, one module each: pure functions of pictures, points and features."""
