"""Each module by itself: what it promises, shown case by case and for generated sequences."""
