"""volume: a network over a whole head: slices, slabs, windows, or streamed row by row."""
