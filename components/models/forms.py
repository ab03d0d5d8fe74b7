"""The forms of what a network gives. Imports no engine, so that a task is known by its facts alone."""

# (N, K), (N, K, H, W), (N, K, L) of L units one after the other, or (N, L, 8 + K): of each of L places a prior box
# (centre, width, height) and the box that is said (left, top, right, bottom), both in pixels and float32, and a logit
# per class.
VECTOR, MAP, SEQUENCE, BOXES = "vector", "map", "sequence", "boxes"
LEAST_SCORE = 0.02  # of a box that is answered: twice what an untrained network says of every place
