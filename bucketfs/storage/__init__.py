"""Layer 3, objects: the seam (`interface`), one dialect a store, and decorators around them."""
