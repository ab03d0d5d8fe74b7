"""What is drawn on pictures: boxes, outlines, masks, and what is cut out by them."""
