"""What is suspicious in data whose form is right: near-duplicates, outliers, doubtful labels, confounded groups."""
